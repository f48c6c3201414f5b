"""The tags of a TIFF file or of an EXIF block, measured before Pillow sees them.

Pillow copies what every tag of a directory points at as soon as it meets the directory, and nothing keeps thousands of tags
from pointing at the same bytes: 65,000 tags in a file of one megabyte would take 26 GB.
"""

from __future__ import annotations

import struct

_UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Field type -> bytes of one value (TIFF 6.0, section 2; BigTIFF has 16 to 18). Pillow and libtiff skip other types."""
_KEPT_AS_BYTES = frozenset({1, 2, 7})
_INTEGERS = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q", 17: "q", 18: "Q"}
POINTERS = frozenset({0x8769, 0x8825, 0xA005})
"""To the EXIF, GPS and interoperability directories, which Pillow loads with the first one of a TIFF."""

_MAX_OVERLAP = 2
"""How often the bytes may be claimed on average. Tags share a fraction, or have a wrong length; a bomb needs hundreds."""
_MAX_TAGS = 4096
"""Of all directories. Cameras write some hundred; Pillow takes microseconds for each, several times."""
_MAX_NUMBER_BYTES = 2_000_000
"""Of numbers, of which Pillow may make a tuple of Python objects forty times their size. The offsets and lengths of 250,000
tiles or strips; profiles, thumbnails and makers' notes are not numbers."""
_EXIF_PREFIX = b"Exif\0\0"
_MAX_PREFIXES = 4
"""Pillow removes each by copying all that follows. Files have one, or two when the writer of a PNG repeated it."""


def exif_fits(block: bytes) -> bool:
    """``tags_fit`` of an EXIF block with or without its prefix. Pillow loads its first directory only."""
    num_prefixes = 0
    while block.startswith(_EXIF_PREFIX, num_prefixes * len(_EXIF_PREFIX)):
        num_prefixes += 1
        if num_prefixes > _MAX_PREFIXES:
            return False
    return tags_fit(block[num_prefixes * len(_EXIF_PREFIX) :])


def tags_fit(data: bytes, *, with_parts: bool = False) -> bool:
    """Whether the tags together claim at most twice the bytes that ``data`` has, and are not absurdly many.

    Counted are the first directory and, ``with_parts``, those it points to. True for anything that is no TIFF: Pillow does not
    read it either.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return True
    # Pillow and libtiff disagree about a big-endian BigTIFF.
    return all(_fit(data, order, is_big, with_parts) for is_big in {data[2:3] == b"+", b"+" in data[2:4]})


def _fit(data: bytes, order: str, is_big: bool, with_parts: bool) -> bool:
    word, num_entries = struct.Struct(order + ("Q" if is_big else "L")), struct.Struct(order + ("Q" if is_big else "H"))
    entry = struct.Struct(order + ("HHQ8s" if is_big else "HHL4s"))
    pending, seen = [_read(word, data, 8 if is_big else 4)], set()
    num_tags = num_bytes = num_number_bytes = 0
    while pending:
        start = pending.pop()
        if start is None or start < 0 or start in seen:
            continue
        seen.add(start)
        start += num_entries.size
        # A directory that is cut short is read as far as it goes.
        num_here = min(_read(num_entries, data, start - num_entries.size) or 0, max(len(data) - start, 0) // entry.size)
        num_tags += num_here
        if num_tags > _MAX_TAGS:
            return False
        for tag, kind, count, value in entry.iter_unpack(data[start : start + num_here * entry.size]):
            size = count * _UNIT_BYTES.get(kind, 0)
            if size > len(value):
                (offset,) = word.unpack(value)
                if offset + size > len(data):  # nobody reads what lies outside the file
                    continue
                value = data[offset : offset + 8]
            num_bytes += size
            num_number_bytes += 0 if kind in _KEPT_AS_BYTES else size
            if with_parts and tag in POINTERS and kind in _INTEGERS and size:
                pending.append(_read(struct.Struct(order + _INTEGERS[kind]), value, 0))
        if num_bytes > _MAX_OVERLAP * len(data) or num_number_bytes > _MAX_NUMBER_BYTES:
            return False
    return True


def _read(number: struct.Struct, data: bytes, position: int) -> int | None:
    """None behind the end."""
    return number.unpack_from(data, position)[0] if position + number.size <= len(data) else None
