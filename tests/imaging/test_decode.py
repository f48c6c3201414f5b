"""Decoding: every format and pixel mode to the right colours, every hostile file to one sentence."""

import contextlib
import hashlib
import io
import os
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ixc.errors import ImageError, ImageTooLarge, ImageUnreadable
from ixc.imaging.decode import DecodedImage, decode_image
from ixc.settings import ImageLimits
from ixc.tiling import SizePx

LIMITS = ImageLimits()
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP")
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def encode(image: Image.Image, image_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def four_corners(width: int = 48, height: int = 32) -> Image.Image:
    """Red, green / blue, white: quarters of flat colour, which survive lossy formats."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours in the middle of each quarter: top left, top right, bottom left, bottom right."""
    height, width, _ = pixels.shape
    return [tuple(int(v) for v in pixels[y, x]) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]


def assert_near(found, expected, tolerance=6):
    for a, b in zip(found, expected, strict=True):
        assert np.abs(np.subtract(a, b)).max() <= tolerance, (found, expected)


def refusal(data, limits=LIMITS, kind=ImageUnreadable) -> str:
    with pytest.raises(kind) as caught:
        decode_image(data, limits)
    message = str(caught.value)
    assert message.endswith(".")
    assert message[0].isupper()
    assert "\n" not in message
    assert len(message) < 200
    return message


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with_header(width: int, height: int, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")


# --- what is decoded ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", FORMATS)
def test_every_format_gives_upright_read_only_rgb(image_format):
    options = {"quality": 95} if image_format in ("JPEG", "WEBP", "AVIF") else {}
    decoded = decode_image(encode(four_corners(), image_format, **options), LIMITS)
    assert decoded.source_format == image_format
    assert decoded.size_px == SizePx(height=32, width=48)
    assert decoded.pixels_HWC.shape == (32, 48, 3)
    assert decoded.pixels_HWC.dtype == np.uint8
    assert decoded.pixels_HWC.flags.c_contiguous
    assert not decoded.pixels_HWC.flags.writeable
    assert_near(corners(decoded.pixels_HWC), [RED, GREEN, BLUE, WHITE])


def test_a_path_and_its_bytes_have_one_id_and_every_other_file_another(tmp_path):
    path = tmp_path / "photo.txt"  # the name is not believed
    path.write_bytes(encode(four_corners(), "PNG"))
    one = decode_image(path, LIMITS).image_id
    assert one == decode_image(path.read_bytes(), LIMITS).image_id
    assert re.fullmatch("[0-9a-f]{64}", one)
    others = [encode(four_corners(), "BMP"), path.read_bytes() + b"\0", encode(Image.new("RGB", (48, 32), RED), "PNG")]
    assert len({one, *(decode_image(data, LIMITS).image_id for data in others)}) == 4


def test_the_id_of_pixels_without_a_file_depends_on_colours_and_on_shape():
    pixels = np.asarray(four_corners())
    expected = hashlib.sha256(b"(32, 48, 3)" + four_corners().tobytes()).hexdigest()
    assert DecodedImage.from_pixels(pixels).image_id == expected
    shapes = {DecodedImage.from_pixels(np.zeros((*shape, 3), np.uint8)).image_id for shape in ((8, 2), (2, 8), (4, 4))}
    assert len(shapes) == 3


# Where the first row and the first column of the stored picture belong, by EXIF orientation (EXIF 2.3, tag 274).
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
        (9, [RED, GREEN, BLUE, WHITE]),  # not a value of the standard
    ],
)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied(image_format, orientation, expected):
    if image_format == "AVIF" and orientation == 9:
        orientation = 1  # AVIF stores rotation and mirror, which have no ninth value
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 95} if image_format in ("JPEG", "WEBP", "AVIF") else {}
    decoded = decode_image(encode(four_corners(), image_format, exif=exif, **options), LIMITS)
    assert decoded.size_px == (SizePx(48, 32) if 5 <= orientation <= 8 else SizePx(32, 48))
    assert_near(corners(decoded.pixels_HWC), expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_costs_the_rotation_but_not_the_picture():
    decoded = decode_image(
        encode(four_corners(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 40), LIMITS
    )
    assert_near(corners(decoded.pixels_HWC), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "AVIF", "TIFF"])
def test_alpha_is_composited_over_white(image_format):
    image = Image.new("RGBA", (48, 32), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (24, 0, 48, 16))
    image.paste((0, 0, 255, 128), (0, 16, 24, 32))
    options = {"lossless": True} if image_format == "WEBP" else {"quality": 100} if image_format == "AVIF" else {}
    decoded = decode_image(encode(image, image_format, **options), LIMITS)
    assert_near(corners(decoded.pixels_HWC), [RED, WHITE, (127, 127, 255), RED], tolerance=3)


def test_alpha_over_white_is_exact():
    # Every alpha over white, one colour channel at 0: white shows through as 255 - alpha.
    image = Image.fromarray(np.dstack([np.zeros((1, 256, 3), np.uint8), np.arange(256, dtype=np.uint8)[None]]), "RGBA")
    decoded = decode_image(encode(image, "PNG"), LIMITS)
    assert decoded.pixels_HWC[0, :, 0].tolist() == list(range(255, -1, -1))


def test_grey_with_alpha():
    image = Image.merge("LA", (Image.new("L", (2, 1), 100), Image.frombytes("L", (2, 1), b"\0\xff")))
    assert decode_image(encode(image, "PNG"), LIMITS).pixels_HWC.tolist() == [[[255] * 3, [100] * 3]]


def test_palette_with_and_without_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    expected = [[10, 20, 30], [200, 100, 50]]
    for image_format in ("PNG", "GIF", "BMP", "TIFF"):
        assert decode_image(encode(image, image_format), LIMITS).pixels_HWC[0].tolist() == expected
    for image_format in ("PNG", "GIF"):
        decoded = decode_image(encode(image, image_format, transparency=1), LIMITS)
        assert decoded.pixels_HWC[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    per_entry = decode_image(encode(image, "PNG", transparency=b"\0\xff"), LIMITS)
    assert per_entry.pixels_HWC[0].tolist() == [[255, 255, 255], [200, 100, 50]]


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_a_transparent_colour_is_white(mode):
    key, other, expected = {"L": (7, 9, [9] * 3), "RGB": ((1, 2, 3), (4, 5, 6), [4, 5, 6]), "1": (1, 0, [0] * 3)}[mode]
    image = Image.new(mode, (2, 1), key)
    image.putpixel((1, 0), other)
    decoded = decode_image(encode(image, "PNG", transparency=1 if mode == "1" else key), LIMITS)
    assert decoded.pixels_HWC[0].tolist() == [[255, 255, 255], expected]


def test_one_bit_is_black_and_white():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    for image_format in ("PNG", "TIFF", "BMP"):
        assert decode_image(encode(image, image_format), LIMITS).pixels_HWC.tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(image_format):
    levels = np.array([[0, 128, 129, 255, 256, 257, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    decoded = decode_image(encode(Image.fromarray(levels), image_format), LIMITS)
    # v / 257 rounded: 128.5 is the first that becomes 1, 65406.5 the first that becomes 255.
    assert decoded.pixels_HWC[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 128, 254, 255, 255]


def test_big_endian_sixteen_bit_tiff():
    pixels = struct.pack(">2H", 0x0180, 0xFFFF)
    entries = [
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 122),
        (277, 3, 1),
        (278, 3, 1),
        (279, 4, 4),
    ]
    directory = struct.pack(">H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack(">HHI", tag, kind, 1) + (
            struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
        )
    data = b"MM\0*" + struct.pack(">I", 8) + directory + b"\0\0\0\0"
    assert len(data) == 122
    assert decode_image(data + pixels, LIMITS).pixels_HWC[0, :, 0].tolist() == [1, 255]


def test_sixteen_bit_grey_with_a_transparent_level():
    image = Image.fromarray(np.array([[1000, 40000]], dtype=np.uint16))
    data = encode(image, "PNG")
    position = data.index(b"IDAT") - 4
    data = data[:position] + png_chunk(b"tRNS", struct.pack(">H", 1000)) + data[position:]
    assert decode_image(data, LIMITS).pixels_HWC[0, :, 0].tolist() == [255, 156]


def test_floats_and_wide_integers_are_stretched():
    for values in (np.array([[-2.0, 0.0, 2.0]], np.float32), np.array([[-20000, 0, 20000]], np.int32)):
        assert decode_image(encode(Image.fromarray(values), "TIFF"), LIMITS).pixels_HWC[0, :, 0].tolist() == [0, 128, 255]
    strange = np.array([[np.nan, np.inf, -np.inf, 3e38, -3e38]], np.float32)
    assert decode_image(encode(Image.fromarray(strange), "TIFF"), LIMITS).pixels_HWC[0, :, 0].tolist() == [
        128,
        128,
        128,
        255,
        0,
    ]
    flat = Image.fromarray(np.full((1, 2), 40.0, np.float32))
    assert decode_image(encode(flat, "TIFF"), LIMITS).pixels_HWC[0, :, 0].tolist() == [40, 40]


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk(image_format):
    image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    options = {"quality": 95} if image_format == "JPEG" else {}
    assert_near([tuple(decode_image(encode(image, image_format, **options), LIMITS).pixels_HWC[9, 9])], [RED])


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation_is_used(image_format):
    frames = [Image.new("RGB", (20, 10), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    assert_near([tuple(decode_image(data, LIMITS).pixels_HWC[5, 5])], [RED])


def test_one_pixel():
    assert decode_image(encode(Image.new("RGB", (1, 1), BLUE), "PNG"), LIMITS).pixels_HWC.tolist() == [[list(BLUE)]]


def test_from_pixels_takes_a_copy_of_memory_that_can_still_change():
    pixels = np.zeros((4, 5, 3), np.uint8)
    decoded = DecodedImage.from_pixels(pixels)
    pixels[:] = 9
    assert decoded.pixels_HWC.max() == 0
    for wrong in (
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((4, 5, 3)),
        np.zeros((0, 5, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match="pixels must be uint8"):
            DecodedImage.from_pixels(wrong)


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


def test_pillows_own_limit_is_not_in_the_way_of_a_raised_one(recwarn):
    # Pillow by itself warns above 89 megapixels and refuses above 179.
    image = Image.new("1", (19_000, 10_000))
    limits = ImageLimits(max_megapixels=200)
    assert decode_image(encode(image, "PNG"), limits).size_px == SizePx(10_000, 19_000)
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
