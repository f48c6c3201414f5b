"""What kind of file some bytes are, told from their content; file names and declared types are never believed."""

from __future__ import annotations

import re

SUPPORTED_NAMES = "JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP"
"""The formats an upload may have, as written in messages."""

HEAD_BYTES = 512
"""How many of a file's first bytes the functions here look at."""

_IMAGE_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("AVIF", re.compile(rb".{4}ftypavi[fs]|.{4}ftypm[is]f1.{0,64}avif", re.DOTALL)),
    ("BMP", re.compile(rb"BM")),
)
_COMMENTS = rb"(?:(?><!--.*?-->)\s*+)*+"
"""Nothing in it is tried twice: in ordinary groups each may also swallow those after it, and 70 of them would take for ever."""
_OTHER_SIGNATURES = (
    ("a PDF", re.compile(rb"%PDF-")),
    (
        "an SVG drawing",
        re.compile(rb"\s*(<\?xml[^>]*>\s*)?" + _COMMENTS + rb"(<!DOCTYPE svg[^>]*>\s*)?<svg", re.DOTALL | re.IGNORECASE),
    ),
    (
        "a web page",
        re.compile(rb"\s*" + _COMMENTS + rb"<(!doctype html|html|head|body|script)", re.DOTALL | re.IGNORECASE),
    ),
    ("a HEIC photo", re.compile(rb".{4}ftyp(hei[cxms]|hev[cxms]|m[is]f1)", re.DOTALL)),
    ("a video", re.compile(rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ", re.DOTALL)),
    ("a JPEG 2000 image", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xffO\xffQ")),
    ("a JPEG XL image", re.compile(rb"\xff\n|\0\0\0\x0cJXL \r\n\x87\n")),
    ("a Photoshop file", re.compile(rb"8BPS")),
    ("an icon file", re.compile(rb"\0\0[\1\2]\0")),
    ("a ZIP archive or an Office document", re.compile(rb"PK[\3\5\7][\4\6\x08]")),
    ("a gzip archive", re.compile(rb"\x1f\x8b")),
)


def sniff_image_format(head: bytes) -> str | None:
    """The supported format (Pillow's name: "JPEG", "PNG", ...) whose signature starts ``head``, else None."""
    return _first_match(_IMAGE_SIGNATURES, head)


def describe_other_file(head: bytes) -> str | None:
    """What a file that is no supported image seems to be, with its article ("a PDF"); None when unknown."""
    return _first_match(_OTHER_SIGNATURES, head)


def _first_match(signatures: tuple[tuple[str, re.Pattern[bytes]], ...], head: bytes) -> str | None:
    head = head[:HEAD_BYTES]
    return next((name for name, signature in signatures if signature.match(head)), None)
