"""A detail is what one would cut out of the whole resized image, which is checked against the reference elsewhere."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ixc.dual_perspective import plan_dual_perspective
from ixc.imaging.detail import most_detailed, seen_detail
from ixc.imaging.resize import resize_and_pad, squash
from ixc.single_view import SingleViewPlan
from ixc.tiling import RectPx, SizePx, plan_tiles


@settings(max_examples=60)
@given(
    st.tuples(st.integers(20, 400), st.integers(20, 400)),
    st.tuples(*[st.floats(0, 0.9)] * 2),
    st.integers(1, 12),
    st.sampled_from(["tiles", "single", "dual"]),
)
@example((20, 160), (0.0, 0.25), 1, "tiles")  # one value is 2 away
def test_a_detail_is_a_crop_of_the_whole(size, corner, max_patches, kind):
    height, width = size
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    left, top = corner[0] * width, corner[1] * height
    rect = RectPx(left, top, min(left + 17, width), min(top + 11, height))
    shift = (0, 0)
    if kind == "dual":
        plan = plan_dual_perspective(SizePx(height, width), max_patches)
        side, input_px = max(height, width), 1008 if max_patches >= 9 else 336
        shift = ((side - width) // 2, (side - height) // 2)
        square = Image.new("RGB", (side, side), (122, 116, 104))
        square.paste(Image.fromarray(pixels), shift)
        whole = np.asarray(square.resize((input_px, input_px), Image.Resampling.BICUBIC))
        height = width = side
    elif kind == "single":
        plan = SingleViewPlan(SizePx(height, width), 70)
        whole = squash(pixels, 70)
    else:
        plan = plan_tiles(SizePx(height, width), max_patches)
        pad, resized = plan.padding_px, plan.resized_px
        whole = resize_and_pad(pixels, plan)[pad.top : pad.top + resized.height, pad.left : pad.left + resized.width]
    seen = seen_detail(pixels, plan, rect)
    assert seen.rect.left <= rect.left + 1e-3
    assert seen.rect.bottom >= rect.bottom - 1e-3
    x = round((seen.rect.left + shift[0]) * whole.shape[1] / width)
    y = round((seen.rect.top + shift[1]) * whole.shape[0] / height)
    expected = whole[y : y + seen.pixels_HWC.shape[0], x : x + seen.pixels_HWC.shape[1]]
    off = np.abs(seen.pixels_HWC.astype(int) - expected)
    assert off.max() <= 2, "Pillow rounds after each axis"
    assert (off > 1).mean() < 0.01


def test_one_pixel_stripes_survive_tiles_and_die_in_one_view():
    """980 stripes, one pixel each: three tiles across keep 1008 of them apart, 490 pixels cannot."""
    stripes = np.zeros((980, 980, 3), np.uint8)
    stripes[:, ::2] = 255
    rect = RectPx(400, 400, 420, 420)
    tiles = seen_detail(stripes, plan_tiles(SizePx(980, 980), 16), rect).pixels_HWC
    single = seen_detail(stripes, SingleViewPlan(SizePx(980, 980), 490), rect).pixels_HWC
    assert np.ptp(tiles) > 150
    assert np.ptp(single) < 20


@pytest.mark.parametrize("rect", [RectPx(0, 0, 0, 5), RectPx(-1, 0, 5, 5), RectPx(0, 0, 31, 5)])
def test_a_rectangle_outside_the_image_is_refused(rect):
    with pytest.raises(ValueError, match="no part of an image of 30x20"):
        seen_detail(np.zeros((20, 30, 3), np.uint8), plan_tiles(SizePx(20, 30), 1), rect)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_place_with_most_detail_is_where_the_words_are(side):
    pixels = np.full((3000, 4000, 3), 250, np.uint8)
    pixels[1200:1800, 1800:2200] = 128  # a plain area in the middle
    words = np.s_[2700:2760, 3500:3800] if side == "right" else np.s_[2700:2760, 200:500]
    pixels[words] = np.random.default_rng(0).integers(0, 2, (60, 300, 1)) * 250
    x, y = most_detailed(pixels, SizePx(90, 400))
    assert (
        abs(x * 4000 - (3650 if side == "right" else 350)) <= 50 + 8
    )  # they fill 300 of its 400 columns and 60 of its 90 rows
    assert abs(y * 3000 - 2730) <= 15 + 6


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (513, 511)])
def test_an_image_without_detail_is_looked_at_in_the_middle(size):
    assert most_detailed(np.full((*size, 3), 9, np.uint8), SizePx(1, 1)) == (0.5, 0.5)


def test_where_all_is_alike_the_place_is_near_the_middle():
    stripes = np.zeros((600, 900, 3), np.uint8)
    stripes[:, ::2] = 255
    x, y = most_detailed(stripes, SizePx(60, 90))
    assert (x, y) == (pytest.approx(0.5, abs=0.01), pytest.approx(0.5, abs=0.01))
