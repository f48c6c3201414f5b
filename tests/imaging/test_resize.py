"""Resize, pad and cut against the reference's checksums and against tiles cut by hand."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ixc.imaging.resize import cut_tiles, resize_and_pad
from ixc.tiling import SizePx, plan_tiles

REFERENCE = Path(__file__).parent.parent / "data" / "ixc2_4khd"
GOLDEN_IMAGES = json.loads((REFERENCE / "golden.json").read_text())["images"]
GOLDEN_CASES = [(name, key) for name, case in GOLDEN_IMAGES.items() for key in case if key.startswith("hd")]


def random_pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 7919 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_golden_image_is_covered():
    assert len(GOLDEN_CASES) == 13


@pytest.mark.parametrize(("name", "key"), GOLDEN_CASES)
def test_resized_and_padded_bytes_equal_the_reference(name, key):
    golden = GOLDEN_IMAGES[name][key]
    pixels = np.asarray(Image.open(REFERENCE / f"{name}.png").convert("RGB"))
    plan = plan_tiles(SizePx(pixels.shape[0], pixels.shape[1]), golden["hd_num"])
    padded = resize_and_pad(pixels, plan)
    assert padded.shape == (golden["padded_wh"][1], golden["padded_wh"][0], 3)
    assert padded.flags.c_contiguous
    assert hashlib.sha256(padded).hexdigest() == golden["uint8_sha256"]


def test_padding_is_white_and_the_odd_row_goes_below():
    # 200x120 at one tile: 336 wide, int(336 / (200/120)) = 201 high, so 135 white rows: 67 above, 68 below.
    padded = resize_and_pad(np.zeros((120, 200, 3), np.uint8), plan_tiles(SizePx(120, 200), 1))
    expected = np.full((336, 336, 3), 255, np.uint8)
    expected[67:268] = 0
    assert np.array_equal(padded, expected)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), max_patches=st.integers(1, 12))
def test_each_tile_is_the_square_of_the_padded_image_at_its_place(height, width, max_patches):
    plan = plan_tiles(SizePx(height, width), max_patches)
    padded = resize_and_pad(random_pixels(height, width), plan)
    tiles = cut_tiles(padded, plan)
    assert tiles.shape == (plan.num_tiles, 3, 336, 336)
    assert tiles.dtype == np.uint8
    assert tiles.flags.c_contiguous
    number = 0
    for top in range(0, padded.shape[0], 336):
        for left in range(0, padded.shape[1], 336):
            for channel in range(3):
                assert np.array_equal(tiles[number, channel], padded[top : top + 336, left : left + 336, channel])
            number += 1
    assert number == plan.num_tiles


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1)])
def test_an_image_too_thin_for_the_reference_still_gives_one_row_of_pixels(height, width):
    plan = plan_tiles(SizePx(height, width), 4)
    assert plan.is_clamped
    padded = resize_and_pad(np.zeros((height, width, 3), np.uint8), plan)
    assert (padded == 0).all(axis=2).sum() == 4 * 336  # one line of pixels along four tiles


def test_pixels_of_another_size_or_type_are_refused():
    plan = plan_tiles(SizePx(20, 30), 4)
    for wrong in (np.zeros((30, 20, 3), np.uint8), np.zeros((20, 30), np.uint8), np.zeros((20, 30, 3), np.float32)):
        with pytest.raises(ValueError, match="expected uint8 pixels of shape"):
            resize_and_pad(wrong, plan)
        with pytest.raises(ValueError, match="expected uint8 pixels of shape"):
            cut_tiles(wrong, plan)


def test_the_input_is_left_alone_and_the_output_is_writable():
    pixels = random_pixels(50, 40)
    pixels.flags.writeable = False
    padded = resize_and_pad(pixels, plan_tiles(SizePx(50, 40), 4))
    padded[0, 0] = 1
    assert np.array_equal(pixels, random_pixels(50, 40))
