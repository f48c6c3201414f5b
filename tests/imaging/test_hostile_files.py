"""What the decoder refuses: too large, not an image, damaged or made to harm; each in one sentence, before it costs a thing."""

import contextlib
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ixc.errors import ImageError, ImageTooLarge, ImageUnreadable
from ixc.imaging.decode import decode_image
from ixc.settings import ImageLimits
from ixc.tiling import SizePx
from tests.imaging.files import BLUE, FORMATS, RED, encode, four_corners, png_chunk, png_with_header

LIMITS = ImageLimits()


def refusal(data, limits=LIMITS, kind=ImageUnreadable) -> str:
    with pytest.raises(kind) as caught:
        decode_image(data, limits)
    message = str(caught.value)
    assert message.endswith(".")
    assert message[0].isupper()
    assert "\n" not in message
    assert len(message) < 200
    return message


# --- limits -------------------------------------------------------------------------------------------------------------


def test_megapixels_are_limited_before_decoding():
    # The header promises 84 megapixels and there are no pixels at all: decoding would say "damaged".
    message = refusal(png_with_header(12_000, 7_000), kind=ImageTooLarge)
    assert message == "The image has 84 megapixels; the limit is 60. Downscale it or raise IXC_MAX_MEGAPIXELS."


def test_a_hair_above_the_limit_does_not_read_as_the_limit_itself():
    limits = ImageLimits(max_megapixels=1)
    assert "has 1.001 megapixels; the limit is 1." in refusal(png_with_header(1001, 1000), limits, ImageTooLarge)
    assert decode_image(encode(Image.new("RGB", (1000, 1000)), "PNG"), limits).size_px == SizePx(1000, 1000)


@pytest.mark.parametrize(("width", "height"), [(1, 100_000), (100_000, 1), (4_000_000_000, 4_000_000_000)])
def test_sides_are_limited_before_decoding(width, height):
    message = refusal(png_with_header(width, height), kind=ImageTooLarge)
    assert message.startswith(f"The image is {width} x {height} pixels; no side may be longer than 20000.")
    assert "IXC_MAX_SIDE_PX" in message


@pytest.mark.parametrize("times", [1, 2])
def test_pillows_own_limit_is_not_in_the_way_of_a_raised_one(times, monkeypatch, recwarn):
    """Pillow by itself warns above 89 megapixels and refuses above twice as many; here above few, which decode at once."""
    data, num_pixels = encode(Image.new("1", (190, 100)), "PNG"), 190 * 100
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", num_pixels // times - 1)
    assert decode_image(data, LIMITS).size_px == SizePx(100, 190)
    assert not recwarn.list


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "WEBP"])
def test_other_formats_are_limited_before_decoding(image_format):
    data = bytearray(encode(Image.new("RGB", (8, 8)), image_format, **({"save_all": True} if image_format == "WEBP" else {})))
    if image_format == "GIF":
        data[6:10] = struct.pack("<HH", 60_000, 60_000)
    elif image_format == "BMP":
        data[18:26] = struct.pack("<ii", 60_000, 60_000)
    else:
        frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
        data = bytearray(encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
        assert data[12:16] == b"VP8X"
        data[24:30] = (59_999).to_bytes(3, "little") * 2
    assert "60000 x 60000" in refusal(bytes(data), kind=ImageTooLarge)


def test_bytes_are_limited_before_reading(tmp_path):
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.truncate(LIMITS.max_bytes + 1)  # sparse: takes no disk
    expected = "The file has 50.000001 MB; the limit is 50. Save it smaller or raise IXC_MAX_UPLOAD_MB."
    assert refusal(path, kind=ImageTooLarge) == expected
    assert refusal(bytes(LIMITS.max_bytes + 1), kind=ImageTooLarge) == expected
    exactly = encode(four_corners(), "PNG")
    assert decode_image(exactly, ImageLimits(max_bytes=len(exactly)))


# --- files that are refused ---------------------------------------------------------------------------------------------

NOT_IMAGES = {
    "a web page": b"<!DOCTYPE html><html><body>hello</body></html>",
    "an SVG drawing": b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "a PDF": b"%PDF-1.7\n%...",
    "a ZIP archive": b"PK\x03\x04" + bytes(60),
    "a HEIC photo": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60),
    "a video": b"\0\0\0\x18ftypisom\0\0\0\0mp42" + bytes(60),
    "a JPEG XL": b"\xff\x0a" + bytes(60),
    "a Photoshop": b"8BPS" + bytes(60),
}


@pytest.mark.parametrize("what", NOT_IMAGES)
def test_other_kinds_of_file_are_named(what):
    message = refusal(NOT_IMAGES[what])
    assert message.startswith(f"This is {what}")
    assert message.endswith("; use JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP.")


@pytest.mark.parametrize(
    ("end", "expected"), [(b"", "None"), (b"<svg>", "an SVG drawing"), (b"<html>", "a web page")], ids=["", "svg", "html"]
)
def test_many_comments_are_looked_at_once(end, expected):
    """In another process: an expression that tries every way to divide them would never let go of this one."""
    program = "import sys; from ixc.imaging.sniff import describe_other_file as d; print(d(sys.stdin.buffer.read()))"
    data = b" " + b"<!---->" * 70 + end
    found = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, timeout=60, check=True)
    assert found.stdout.decode().strip() == expected


@pytest.mark.parametrize(
    "data", [b"hello", bytes(1000), bytes(range(256)) * 8, b"\xff" * 500], ids=["text", "zeros", "ramp", "ff"]
)
def test_unknown_content_is_refused(data):
    assert refusal(data).startswith("This file is not an image that can be opened; use JPEG")


def test_unsupported_formats_that_pillow_could_open_are_refused():
    for image_format in ("ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "EPS", "DDS"):
        refusal(encode(four_corners(), image_format))


def test_an_empty_file_a_folder_a_missing_file_and_a_pipe(tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    assert refusal(empty) == refusal(b"") == "The file is empty; choose an image file."
    assert "is a folder" in refusal(tmp_path)
    assert refusal(tmp_path / "none.png") == "There is no file none.png; check its name and folder."
    assert "There is no file" in refusal(empty / "below.png")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # reading it would wait for ever
    assert "is not an ordinary file" in refusal(pipe)
    assert "could not be read" in refusal(tmp_path / ("x" * 300))
    assert "could not be read" in refusal(tmp_path / "nul\0character")
    assert "two?lines.png" in refusal(tmp_path / "two\nlines.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encode(four_corners(), "PNG"))
    path.chmod(0)
    assert "may not be read" in refusal(path)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_damaged(image_format, share):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, image_format)
    assert refusal(data[: int(len(data) * share)]).startswith("The image file is damaged or incomplete")


def test_a_png_header_that_lies_within_the_limits():
    refusal(png_with_header(7_000, 7_000))
    refusal(png_with_header(0, 10))
    refusal(png_with_header(10, 0))


def test_a_compressed_text_bomb_in_a_png():
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000), 9))
    refusal(png_with_header(8, 8, bomb))
    refusal(png_with_header(8, 8, png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(20_000_000), 9))))


def test_a_jpeg_with_thousands_of_scans():
    data = encode(four_corners(), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    assert "more than 500 scans" in refusal(data[:-2] + last_scan * 600 + data[-2:])
    # What a phone appends behind the picture does not count.
    assert decode_image(data + b"\xff\xda" * 1000, LIMITS).size_px == SizePx(32, 48)


def tiff(entries: list[tuple[int, int, int, int]], tail: bytes = bytes(64)) -> bytes:
    """A little-endian TIFF of one directory; entries are (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + tail


TIFF_BASE = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
ABSURD_TIFFS = {
    "strip far behind the end": [*TIFF_BASE, (273, 4, 1, 0xFFFFFFF0), (278, 4, 1, 64), (279, 4, 1, 4096)],
    "four billion strips": [*TIFF_BASE, (273, 4, 0xFFFFFFFF, 8), (279, 4, 0xFFFFFFFF, 8)],
    "huge tiles, deflate": [
        *TIFF_BASE[:3],
        (259, 3, 1, 8),
        *TIFF_BASE[4:],
        (322, 4, 1, 2**31),
        (323, 4, 1, 2**31),
        (324, 4, 1, 8),
        (325, 4, 1, 8),
    ],
    "wide tiles within the side limit": [
        *TIFF_BASE[:3],
        (259, 3, 1, 8),
        *TIFF_BASE[4:],
        (322, 4, 1, 16384),
        (323, 4, 1, 16384),
        (324, 4, 1, 8),
        (325, 4, 1, 8),
    ],
    "tile of no width": [*TIFF_BASE, (322, 4, 1, 0), (323, 4, 1, 0), (324, 4, 1, 8), (325, 4, 1, 8)],
    "many samples": [*TIFF_BASE[:5], (277, 3, 1, 65535)],
    "unknown compression": [*TIFF_BASE[:3], (259, 3, 1, 4242), *TIFF_BASE[4:], (273, 4, 1, 8), (279, 4, 1, 8)],
    "negative size": [(256, 9, 1, 0xFFFFFFFF), (257, 9, 1, 0xFFFFFFFF), *TIFF_BASE[2:]],
    "text for a size": [(256, 2, 4, 0x41414141), *TIFF_BASE[1:]],
    "zero size": [(256, 4, 1, 0), (257, 4, 1, 0), *TIFF_BASE[2:]],
    "no tags": [],
    "a list for a size": [(256, 3, 2, 0x00400040), *TIFF_BASE[1:], (273, 4, 1, 8), (279, 4, 1, 8)],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", ABSURD_TIFFS)
def test_absurd_tiffs(what):
    refusal(tiff(ABSURD_TIFFS[what]))


def test_a_directory_loop_in_a_tiff():
    data = bytearray(encode(four_corners(), "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * count, start)  # the next directory is this one
    assert decode_image(bytes(data), LIMITS).size_px == SizePx(32, 48)


def test_a_gif_frame_larger_than_its_screen_is_limited_too():
    data = bytearray(encode(Image.new("P", (8, 8)), "GIF"))
    frame = data.index(b",", 13)
    struct.pack_into("<HH", data, frame + 5, 65535, 65535)
    refusal(bytes(data), kind=ImageTooLarge)


SAMPLES = {name: encode(four_corners(24, 16), name) for name in FORMATS} | {
    "progressive JPEG": encode(four_corners(24, 16), "JPEG", progressive=True),
    "palette PNG": encode(four_corners(24, 16).convert("P"), "PNG", transparency=0),
    "animated GIF": encode(four_corners(24, 16), "GIF", save_all=True, append_images=[Image.new("RGB", (24, 16))]),
    "animated WebP": encode(four_corners(24, 16), "WEBP", save_all=True, append_images=[Image.new("RGB", (24, 16))]),
    "deflate TIFF": encode(four_corners(24, 16), "TIFF", compression="tiff_deflate"),
    "LZW TIFF": encode(four_corners(24, 16), "TIFF", compression="tiff_lzw"),
    "RGBA BMP": encode(four_corners(24, 16).convert("RGBA"), "BMP"),
}
SMALL_LIMITS = ImageLimits(max_bytes=100_000, max_side_px=300, max_megapixels=0.05)


def decode_or_refuse(data: bytes) -> None:
    """Anything but a picture within the limits or an ImageError fails the test."""
    with contextlib.suppress(ImageError):
        assert decode_image(data, SMALL_LIMITS).pixels_HWC.size <= 0.05e6 * 3


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, deadline=None)
@given(data=st.binary(max_size=400))
@example(b"BM")
@example(b"\xff\xd8\xff")
@example(b"II*\0\x08\0\0\0")
def test_random_bytes_never_raise_anything_else(data):
    decode_or_refuse(data)
    for prefix in (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"BM",
        b"RIFF0000WEBP",
        b"0000ftypavif",
    ):
        decode_or_refuse(prefix + data)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=600, deadline=None)
@given(
    name=st.sampled_from(sorted(SAMPLES)),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=6)), max_size=6),
    cut=st.none() | st.integers(0, 4000),
)
def test_mutated_files_never_raise_anything_else(name, edits, cut):
    data = bytearray(SAMPLES[name])
    for position, patch in edits:
        position %= len(data)
        data[position : position + len(patch)] = patch
    decode_or_refuse(bytes(data[:cut]))
