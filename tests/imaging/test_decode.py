"""Decoding: every format and pixel mode to the right colours."""

import hashlib
import re
import struct

import numpy as np
import pytest
from PIL import Image

from ixc.imaging.decode import DecodedImage, decode_image
from ixc.settings import ImageLimits
from ixc.tiling import SizePx
from tests.imaging.files import BLUE, FORMATS, GREEN, RED, WHITE, encode, four_corners, png_chunk

LIMITS = ImageLimits()


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours in the middle of each quarter: top left, top right, bottom left, bottom right."""
    height, width, _ = pixels.shape
    return [tuple(int(v) for v in pixels[y, x]) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]


def assert_near(found, expected, tolerance=6):
    for a, b in zip(found, expected, strict=True):
        assert np.abs(np.subtract(a, b)).max() <= tolerance, (found, expected)


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


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_may_lie_in_any_buffer(kind):
    data = encode(four_corners(), "PNG")
    image = decode_image(kind(data), ImageLimits())
    assert image.image_id == decode_image(data, ImageLimits()).image_id


@pytest.mark.parametrize("source", ["sign.png", None, 3])
def test_a_file_s_name_is_not_its_bytes(source):
    with pytest.raises(TypeError, match=f"a pathlib.Path or as the bytes of its file, not as {type(source).__name__}"):
        decode_image(source, ImageLimits())
