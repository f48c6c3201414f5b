"""Whether a file has so much beside its picture that opening it would take seconds, minutes or hours.

Pillow reads blocks of metadata in Python, holding the interpreter's lock, and in some formats copies all of the earlier ones
for each: a GIF of 50 MB of comments takes most of an hour. Here blocks are walked as Pillow walks them, but once.
"""

from __future__ import annotations

from collections.abc import Iterator

from ixc.imaging.jpeg import has_long_header, has_more_markers

_MAX_BLOCKS = 1000
"""JPEG markers, PNG chunks, GIF extensions, AVIF boxes. The largest profiles and notes of makers come in some hundred."""
_MAX_STEPS = 100_000
"""What Pillow reads at a microsecond each: GIF sub-blocks, stray bytes, PNG chunks of pixels, which have 8 kB as a rule."""
_MAX_COMMENT_BLOCKS = 2000
"""Sub-blocks of GIF comments, half a megabyte; for each, Pillow copies those before it."""
_MAX_LIST_BYTES = 65_536
"""Of AVIF's lists of items: libavif looks through all items for each entry. A picture of 400 parts fits."""

_PIXEL_CHUNKS = frozenset({b"IDAT", b"fdAT", b"fcTL"})
_EXTENSION, _IMAGE, _TRAILER = b"!", b",", b";"
_COMMENT, _APPLICATION = b"\xfe", b"\xff"
_AVIF_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0}
"""Boxes of boxes, with the bytes of version and flags before the first."""
_AVIF_LISTS = frozenset({b"iinf", b"iloc", b"iref", b"ipma"})


def is_cluttered(data: bytes, source_format: str) -> bool:
    """Whether the file is to be refused for what it has beside pixels. Takes time linear in its size, 0.5 s for 50 MB at worst.

    WebP, whose blocks libwebp walks once, and BMP, which has none, never are; for TIFF see ``tags_fit``.
    """
    if source_format == "JPEG":
        return has_long_header(data, _MAX_BLOCKS, _MAX_STEPS) or has_more_markers(data, _MAX_BLOCKS)
    walk = {"PNG": _is_cluttered_png, "GIF": _is_cluttered_gif, "AVIF": _is_cluttered_avif}.get(source_format)
    return walk is not None and walk(data)


def _is_cluttered_png(data: bytes) -> bool:
    position, num_pixel_chunks, num_others = 8, 0, 0
    while position + 8 <= len(data):
        kind = data[position + 4 : position + 8]
        if kind == b"IEND":
            return False
        if kind in _PIXEL_CHUNKS:
            num_pixel_chunks += 1
        else:
            num_others += 1
        if num_pixel_chunks > _MAX_STEPS or num_others > _MAX_BLOCKS:
            return True
        position += 12 + int.from_bytes(data[position : position + 4])
    return False


def _is_cluttered_gif(data: bytes) -> bool:
    """Up to the first picture."""
    flags = data[10]
    position = 13 + (6 << (flags & 7) if flags & 0x80 else 0)
    num_extensions = num_steps = num_comment_blocks = 0
    while (introducer := data[position : position + 1]) and introducer not in (_IMAGE, _TRAILER):
        position += 1
        num_steps += 1
        if introducer == _EXTENSION:
            num_extensions += 1
            label = data[position : position + 1]
            for end in _gif_blocks(data, position + 1, label):
                position = end
                num_steps += 1
                num_comment_blocks += label == _COMMENT
                if num_steps > _MAX_STEPS or num_comment_blocks > _MAX_COMMENT_BLOCKS:
                    return True
        if num_extensions > _MAX_BLOCKS or num_steps > _MAX_STEPS:
            return True
    return False


def _gif_blocks(data: bytes, position: int, label: bytes) -> Iterator[int]:
    """Where each sub-block of an extension ends.

    An empty one is the last, but Pillow reads on behind an empty first block, and behind that which follows "NETSCAPE2.0".
    """
    is_loop = label == _APPLICATION and data.startswith(b"NETSCAPE2.0", position + 1) and data[position] >= len("NETSCAPE2.0")
    num_certain = 0 if label == _COMMENT else 2 if is_loop else 1
    while True:
        size = data[position] if position < len(data) else 0
        position += 1 + size
        yield position
        if num_certain:
            num_certain -= 1
        elif not size:
            return


def _is_cluttered_avif(data: bytes) -> bool:
    num_boxes = num_list_bytes = 0
    pending = [(0, len(data))]
    while pending:
        position, stop = pending.pop()
        while position + 8 <= stop:
            size, kind, header = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8], 8
            if size == 1:
                size, header = int.from_bytes(data[position + 8 : position + 16]), 16
            end = min(position + size, stop) if size else stop
            num_boxes += 1
            num_list_bytes += end - position if kind in _AVIF_LISTS else 0
            if num_boxes > _MAX_BLOCKS or num_list_bytes > _MAX_LIST_BYTES:
                return True
            if end < position + header:
                break
            if kind in _AVIF_CONTAINERS:
                pending.append((position + header + _AVIF_CONTAINERS[kind], end))
            position = end
    return False
