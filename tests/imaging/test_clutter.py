"""Files of thousands of blocks that are no picture: refused by their number, before Pillow reads them in minutes or hours.

Pillow opens every one of these that is refused here, or reads it to its end: that is what takes the time when it is larger.
"""

import io
import struct
import zlib

import pytest
from PIL import Image, ImageCms

from ixc.errors import ImageUnreadable
from ixc.imaging.decode import decode_image, open_image
from ixc.settings import ImageLimits
from ixc.tiling import SizePx
from tests.imaging.files import BLUE, RED, encode, four_corners, png_chunk

LIMITS = ImageLimits()
JPEG = encode(four_corners(), "JPEG")
PROGRESSIVE = encode(four_corners(), "JPEG", progressive=True)
PNG = encode(four_corners(), "PNG")
GIF = encode(four_corners(), "GIF")
AVIF = encode(four_corners(), "AVIF")


def segment(marker: int, body: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


def in_jpeg(segments: bytes, data: bytes = JPEG) -> bytes:
    return data[:2] + segments + data[2:]


def between_scans(segments: bytes) -> bytes:
    last_scan = PROGRESSIVE.rindex(b"\xff\xda")
    return PROGRESSIVE[:last_scan] + segments + PROGRESSIVE[last_scan:]


def in_png(chunks: bytes, before: bytes = b"IDAT") -> bytes:
    position = PNG.index(before) - 4
    return PNG[:position] + chunks + PNG[position:]


def in_gif(blocks: bytes) -> bytes:
    position = 13 + (6 << (GIF[10] & 7))
    return GIF[:position] + blocks + GIF[position:]


def sub_blocks(text: bytes, size: int = 255) -> bytes:
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def avif_boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    boxes, position = [], 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        boxes.append((kind, data[position + 8 : position + size]))
        position += size
    return boxes


def in_avif(inside: bytes, more: bytes, num_more: int = 0, has_long_size: bool = False) -> bytes:
    """With ``more`` at the end of the first box ``inside`` the description; the picture itself then lies elsewhere."""
    result = b""
    for kind, body in avif_boxes(AVIF):
        if kind == b"meta":
            described = b""
            for name, part in avif_boxes(body[4:]):
                if name == inside == b"iinf":
                    part = part[:4] + struct.pack(">H", struct.unpack_from(">H", part, 4)[0] + num_more) + part[6:] + more
                elif name == b"iprp" and inside == b"ipco":
                    (first, properties), *others = avif_boxes(part)
                    part = box(first, properties + more) + b"".join(box(*other) for other in others)
                described += box(name, part)
            body = body[:4] + described
        is_long = has_long_size and kind == b"meta"
        result += struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body if is_long else box(kind, body)
    return result


def avif_item(number: int) -> bytes:
    return box(b"infe", b"\2\0\0\0" + struct.pack(">HH4s", number, 0, b"abcd") + b"\0")


AVIF_ITEMS = b"".join(avif_item(number) for number in range(100, 8100))
LIKE_AN_IMAGE = b"," + bytes(ord(",")) + b"\0"
"""A sub-block of GIF, for who reads on where Pillow does."""
LONG_TEXT = zlib.compress(b"x" * 10_000)
CLUTTERED = {
    "JPEG comments": in_jpeg(segment(0xFE) * 1100),
    "JPEG, pieces of EXIF": in_jpeg(segment(0xE1, b"Exif\0\0a") * 1100),
    "JPEG, megabytes of EXIF": in_jpeg(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 70),
    "JPEG, megabytes of Photoshop's": in_jpeg(segment(0xED, b"Photoshop 3.0\0" + bytes(65_000)) * 70),
    "JPEG comments behind what seems a segment": in_jpeg(b"\xff\xf0\xff\xff" + segment(0xFE) * 1100),
    "JPEG comments behind what seems the end": in_jpeg(b"\xff\xd9" + segment(0xFE) * 1100),
    "JPEG comments between scans": between_scans(segment(0xE1, b"x") * 1100),
    "JPEG, stray bytes": in_jpeg(segment(0xFE) + b"x" * 110_000),
    "JPEG, fill bytes": in_jpeg(b"\xff" * 110_000),
    "JPEG tables": in_jpeg(segment(0xDB, (b"\0" + bytes(range(1, 65))) * 1000) * 2),
    "JPEG, frames of thousands of layers": in_jpeg(segment(0xC0, b"\x08\0\1\0\1\3" + bytes(60_000)) * 2),
    "PNG, private chunks": in_png(png_chunk(b"prIv", b"") * 1100),
    "PNG texts": in_png(b"".join(png_chunk(b"zTXt", b"%d\0\0" % number + LONG_TEXT) for number in range(1100))),
    "PNG, chunks behind the picture": in_png(png_chunk(b"prIv", b"") * 1100, before=b"IEND"),
    "PNG, empty chunks of pixels": in_png(png_chunk(b"IDAT", b"") * 100_001),
    "GIF comments": in_gif(b"!\xfe\1a\0" * 1100),
    "GIF, one comment of many parts": in_gif(b"!\xfe" + sub_blocks(bytes(2100), size=1)),
    "GIF, a long comment": in_gif(b"!\xfe" + sub_blocks(bytes(1_000_000))),
    "GIF, an application of very many parts": in_gif(b"!\xff\x0bABCDEFGH1.0" + sub_blocks(bytes(110_000), size=1)),
    "GIF comments behind an empty block": in_gif(b"!\x01\0" + LIKE_AN_IMAGE + b"!\xfe\1a\0" * 1100),
    "GIF comments behind a loop without a number": in_gif(b"!\xff\x0bNETSCAPE2.0\0" + LIKE_AN_IMAGE + b"!\xfe\1a\0" * 1100),
    "GIF, stray bytes": in_gif(b"x" * 110_000),
    "AVIF items": in_avif(b"iinf", AVIF_ITEMS, num_more=8000),
    "AVIF items in a long box": in_avif(b"iinf", AVIF_ITEMS, num_more=8000, has_long_size=True),
    "AVIF properties": in_avif(b"ipco", box(b"abcd", b"") * 1100),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", CLUTTERED)
def test_thousands_of_blocks_are_refused(what):
    with pytest.raises(ImageUnreadable) as caught:
        open_image(CLUTTERED[what], LIMITS)
    name = what.split()[0].rstrip(",")
    assert str(caught.value) == f"The {name} has far more metadata than a picture needs; save it again as JPEG or PNG."


def profile_segments(num_bytes: int) -> bytes:
    parts = [bytes(65_000)] * (num_bytes // 65_000)
    return b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part) for number, part in enumerate(parts, 1)
    )


HONEST = {
    "JPEG with hundreds of segments": in_jpeg(segment(0xFE, b"a comment") * 900),
    "JPEG with a large profile": in_jpeg(profile_segments(10_000_000)),
    "JPEG with EXIF in ten segments": in_jpeg(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 10),
    "JPEG with fill bytes": in_jpeg(b"\xff" * 5000),
    "JPEG with restarts": encode(four_corners(800, 600), "JPEG", restart_marker_blocks=1),
    "JPEG and what a phone appends": JPEG + segment(0xFE) * 5000,
    "progressive JPEG with comments": between_scans(segment(0xFE, b"a comment") * 900),
    "PNG with hundreds of chunks": in_png(png_chunk(b"prIv", b"x") * 900),
    "PNG with many chunks of pixels": in_png(png_chunk(b"IDAT", b"") * 20_000),
    "GIF with hundreds of comments": in_gif(b"!\xfe\1a\0" * 900),
    "GIF with a comment of 200 kB": in_gif(b"!\xfe" + sub_blocks(bytes(200_000))),
    "GIF with XMP, whose letters are read as lengths": in_gif(
        b"!\xff\x0bXMP DataXMP" + b"<x:xmpmeta/>" * 50_000 + bytes([1, *range(255, -1, -1), 0])
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", HONEST)
def test_what_files_may_well_have_is_let_through(what):
    assert decode_image(HONEST[what], LIMITS).size_px in (SizePx(32, 48), SizePx(600, 800))


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "WEBP"])
def test_an_animation_of_more_than_a_thousand_frames(image_format):
    frames = [Image.new("RGB", (2, 2), (number % 256, number // 256, 0)) for number in range(1, 1100)]
    data = encode(Image.new("RGB", (2, 2), RED), image_format, save_all=True, append_images=frames, lossless=True)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 1100
    assert decode_image(data, LIMITS).size_px == SizePx(2, 2)


def test_a_sequence_in_avif_with_profile_and_exif():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[271] = "Maker"
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE) * 20]
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:], icc_profile=profile * 20, exif=exif)
    assert decode_image(data, LIMITS).size_px == SizePx(16, 16)
