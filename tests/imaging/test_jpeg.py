"""JPEGs that OpenCV decodes: the same pixels as Pillow's, and none that Pillow would refuse."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ixc.errors import ImageError, ImageUnreadable
from ixc.imaging import decode as decoding
from ixc.imaging.decode import decode_image
from ixc.imaging.jpeg import decode_plain_jpeg, has_more_scans
from ixc.settings import ImageLimits

LIMITS = ImageLimits()


def photograph(height: int, width: int) -> Image.Image:
    """Noise over a gradient: every coefficient of a block is used."""
    random = np.random.default_rng(height * 7919 + width)
    gradient = np.add.outer(np.arange(height), np.arange(width))[:, :, None] % 200
    return Image.fromarray((gradient + random.integers(0, 56, (height, width, 3))).astype(np.uint8))


def encode(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray | None:
    """None when Pillow refuses the file."""
    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except Exception:  # noqa: BLE001  whatever a plug-in raises on damaged data
        return None


PLAIN = {
    "4:4:4": {"subsampling": 0, "quality": 95},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "progressive": {"progressive": True, "subsampling": 2},
    "optimised": {"optimize": True, "quality": 30},
    "restart markers": {"restart_marker_blocks": 3},
    "stored as RGB": {"keep_rgb": True},
    "with a profile and a comment": {"icc_profile": bytes(range(256)) * 20, "comment": b"a \xff\xd9 comment"},
}


@pytest.mark.parametrize("what", PLAIN)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (37, 53), (1, 1)])
def test_plain_files_have_pillows_pixels(what, height, width):
    data = encode(photograph(height, width), **PLAIN[what])
    fast = decode_plain_jpeg(data)
    assert np.array_equal(fast, by_pillow(data))
    decoded = decode_image(data, LIMITS)
    assert np.array_equal(decoded.pixels_HWC, fast)
    assert decoded.pixels_HWC.flags.c_contiguous
    assert not decoded.pixels_HWC.flags.writeable


def test_what_a_phone_appends_is_not_read():
    data = encode(photograph(40, 60))
    assert np.array_equal(decode_plain_jpeg(data + b"\xff\xd8\xff\xda" * 9), by_pillow(data))


def test_grey_cmyk_and_turned_pictures_are_left_to_pillow(monkeypatch):
    exif = Image.Exif()
    exif[274] = 6
    photo = photograph(40, 60)
    files = [encode(photo.convert("L")), encode(photo.convert("CMYK")), encode(photo, exif=exif)]
    expected = [decode_image(data, LIMITS).pixels_HWC for data in files]
    assert expected[2].shape == (60, 40, 3)

    def fail(data):
        raise AssertionError("not for this picture")

    monkeypatch.setattr(decoding, "decode_plain_jpeg", fail)
    for data, pixels in zip(files, expected, strict=True):
        assert np.array_equal(decode_image(data, LIMITS).pixels_HWC, pixels)


def segment(marker: int, body: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


def test_files_that_are_not_quite_in_order_are_left_to_pillow():
    data = encode(photograph(40, 60))
    scan = data.index(b"\xff\xda")
    strange = {
        "no end": data[:-2],
        "cut in the middle": data[: len(data) // 2],
        "a comment behind the scan": data[:-2] + segment(0xFE, b"late") + data[-2:],
        "two frames": data[:scan] + data[data.index(b"\xff\xc0") : scan] + data[scan:],
        "a second scan": data[:-2] + data[scan:],
        "an unknown marker": data[:scan] + segment(0xF0, b"?") + data[scan:],
        "another start": data[:scan] + b"\xff\xd8" + data[scan:],
        "no scan": data[:scan] + b"\xff\xd9",
        "nothing": b"\xff\xd8\xff",
    }
    assert [name for name, file in strange.items() if decode_plain_jpeg(file) is not None] == []
    for name in ("no end", "cut in the middle"):
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
        if by_pillow(strange[name]) is None:
            with pytest.raises(ImageUnreadable, match="damaged or incomplete"):
                decode_image(strange[name], LIMITS)


def test_scans_are_counted_up_to_the_limit():
    data = encode(photograph(40, 60), progressive=True)
    num_scans = data.count(b"\xff\xda")
    assert num_scans > 3
    assert has_more_scans(data, num_scans - 1)
    assert not has_more_scans(data, num_scans)


SAMPLES = [
    encode(photograph(24, 40), subsampling=2, quality=60),
    encode(photograph(24, 40), progressive=True),
    encode(photograph(24, 40), restart_marker_blocks=1),
]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=500, deadline=None)
@given(
    data=st.sampled_from(SAMPLES),
    edits=st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    cut=st.none() | st.integers(0, 6000),
    end=st.sampled_from([b"", b"\xff\xd9"]),
)
def test_damaged_files_are_refused_or_read_as_pillow_does(data, edits, cut, end):
    damaged = bytearray(data)
    for position, patch in edits:
        position %= len(data)
        damaged[position : position + len(patch)] = patch
    damaged = bytes(damaged[:cut]) + end
    fast = decode_plain_jpeg(damaged)
    try:
        decoded = decode_image(damaged, ImageLimits(max_side_px=300, max_megapixels=0.05)).pixels_HWC
    except ImageError:
        return
    pillow = by_pillow(damaged)
    if fast is not None and fast.shape == decoded.shape and pillow is not None:
        assert np.array_equal(decoded, pillow)
    assert pillow is not None, "Pillow refuses this file"
