"""A JPEG's markers: whether they are too many, and whether it is so plain that OpenCV decodes it exactly as Pillow does.

Both are libjpeg-turbo underneath. OpenCV wastes no time on handing the data over in pieces and on a fourth byte for each pixel
(4K: 14 ms instead of 36), but says nothing about what follows the last line of pixels, and turns pictures without being asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import numpy as np

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_BASELINE_FRAMES, _PROGRESSIVE_FRAME = (0xC0, 0xC1), 0xC2
_HEADER_MARKERS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Huffman and quantisation tables, restart interval, comment, APPn: allowed before the scan, in a progressive file between
scans too."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Not a stuffed byte, a fill byte or a restart marker, which belong to a scan's data."""
_WITHOUT_LENGTH = frozenset({0x01, 0xD8})
"""Markers that stand alone besides restarts and end of image: TEM and start of image."""

_NEXT_FOR_PILLOW = re.compile(rb"\xff[^\x00\xff]")
_LEAST_FOR_PILLOW = 0xC0
"""At a smaller one Pillow gives up."""
_WITHOUT_LENGTH_FOR_PILLOW = frozenset({0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_METADATA_MARKERS = frozenset({0xFE, *range(0xE0, 0xF0)})
_PARSED_METADATA = (b"Exif\0\0", b"Photoshop 3.0\0")
_MAX_PARSED_BYTES = 4_000_000
"""Of metadata that Pillow takes to pieces, or adds to what it has by copying that. As a rule one segment of each: 131 kB."""
_MAX_TABLE_BYTES = 65_536
"""Of frames, quantisation and Huffman tables, of which Pillow makes Python objects forty times their size. A file has 2 kB."""


def markers(data: bytes) -> Iterator[int]:
    """The markers after the first, up to and including the end of the image; phones append videos behind it.

    Segments are skipped, so that an embedded thumbnail's markers do not count.
    """
    position = 2
    while (match := _NEXT_MARKER.search(data, position)) is not None:
        marker, position = data[match.start() + 1], match.end()
        yield marker
        if marker == _END_OF_IMAGE:
            return
        if marker not in _WITHOUT_LENGTH:
            position += max(int.from_bytes(data[position : position + 2]), 2)


def has_more_scans(data: bytes, max_scans: int) -> bool:
    """Whether the file has more than ``max_scans``; reads no further than it must."""
    num_scans = 0
    for marker in markers(data):
        num_scans += marker == _START_OF_SCAN
        if num_scans > max_scans:
            return True
    return False


def has_more_markers(data: bytes, max_markers: int) -> bool:
    """Whether the file has more than ``max_markers`` besides restarts; reads no further than it must."""
    return next(islice(markers(data), max_markers, None), None) is not None


def has_long_header(data: bytes, max_markers: int, max_stray_bytes: int) -> bool:
    """Whether Pillow would spend seconds, or gigabytes, on what comes before the first scan.

    Walked as Pillow does: it reads no length behind some markers that have one, goes on behind an end of the image, and takes
    stray bytes singly.
    """
    position, num_markers, num_stray, num_table_bytes, num_parsed_bytes = 2, 0, 0, 0, 0
    while (match := _NEXT_FOR_PILLOW.search(data, position)) is not None:
        marker = data[match.start() + 1]
        num_markers += 1
        num_stray += match.start() - position
        position = match.end()
        if marker == _START_OF_SCAN or marker < _LEAST_FOR_PILLOW:
            break
        if marker not in _WITHOUT_LENGTH_FOR_PILLOW:
            length = max(int.from_bytes(data[position : position + 2]), 2)
            num_table_bytes += 0 if marker in _METADATA_MARKERS else length
            num_parsed_bytes += length if data.startswith(_PARSED_METADATA, position + 2) else 0
            position += length
        if num_markers > max_markers or num_table_bytes > _MAX_TABLE_BYTES or num_parsed_bytes > _MAX_PARSED_BYTES:
            return True
    else:
        num_stray += max(len(data) - position, 0)
    return num_stray > max_stray_bytes


def decode_plain_jpeg(data: bytes) -> np.ndarray | None:
    """uint8 RGB [height, width, 3], the pixels that Pillow gives; None when Pillow must decide.

    The caller has checked the size in the header, and that the picture is 8-bit RGB and upright. None for everything unusual:
    no end of image, several scans in a baseline file, unknown markers, or data that OpenCV cannot decode.
    """
    if not _is_plain(data):
        return None
    import cv2  # only here: a plan of another kind of image must not wait for OpenCV

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


def _is_plain(data: bytes) -> bool:
    """One frame, whole, with known markers only.

    In a baseline file the end of the image must follow the only scan: libjpeg looks at what comes there after the pixels are
    out, when OpenCV no longer listens to its complaints.
    """
    frame, num_scans = 0, 0
    for marker in markers(data):
        if marker == _END_OF_IMAGE:
            return num_scans > 0
        if num_scans and frame != _PROGRESSIVE_FRAME:
            return False
        if marker in (*_BASELINE_FRAMES, _PROGRESSIVE_FRAME):
            if frame:
                return False
            frame = marker
        elif marker == _START_OF_SCAN and frame:
            num_scans += 1
        elif marker not in _HEADER_MARKERS:
            return False
    return False
