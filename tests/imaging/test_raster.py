"""The plan drawn into pixels: where lines, padding and picture are."""

import io

import numpy as np
import pytest
from PIL import Image

from ixc.imaging.raster import plan_png
from ixc.tiling import SizePx, plan_tiles

ACCENT, HATCH, PADDING, NEWLINE = (0x4F, 0x46, 0xE5), (0xC7, 0xD2, 0xFE), (0xEE, 0xF2, 0xFF), (0xC2, 0x41, 0x0C)
PICTURE = (20, 160, 90)


def draw(height: int, width: int, max_patches: int, **options) -> np.ndarray:
    pixels = np.full((height, width, 3), PICTURE, np.uint8)
    png = plan_png(pixels, plan_tiles(SizePx(height, width), max_patches), **options)
    assert png.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def has_colour(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((pixels == colour).all(axis=-1).any())


def test_picture_padding_and_borders_are_in_their_places():
    # 120x200 at 1: 201 of 336 rows are picture, from 67 on; drawn 1200 px a side, so from 239 to 957.
    drawn = draw(120, 200, 1)
    assert drawn.shape == (1200, 1200, 3)
    inside = drawn[260:940, 100:1000]
    assert (inside == PICTURE).all()
    above = drawn[10:200, 200:1190].reshape(-1, 3)
    assert {tuple(colour) for colour in np.unique(above, axis=0).tolist()} == {HATCH, PADDING}
    for edge in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
        assert (edge == ACCENT).all()


def test_borders_between_tiles():
    # 1000x1000 at 4: 2x2 tiles without padding; the inner borders cross in the middle.
    drawn = draw(1000, 1000, 4, layers=["tiles"])
    middle = drawn.shape[0] // 2
    assert (drawn[middle] == ACCENT).all()
    assert (drawn[:, middle] == ACCENT).all()
    assert (drawn[middle + 20 : -20, middle + 20 : -20] == PICTURE).all()


def test_layers_can_be_left_out():
    assert (draw(1000, 1000, 4, layers=[]) == PICTURE).all()
    assert has_colour(draw(1000, 1000, 4, layers=["newlines"]), NEWLINE)
    assert not has_colour(draw(1000, 1000, 4, layers=["tiles", "numbers", "padding"]), NEWLINE)
    with pytest.raises(ValueError, match="unknown layers"):
        draw(10, 10, 1, layers=["all"])


def test_newline_marks_stand_in_the_last_column_of_every_tile_row():
    drawn = draw(1000, 1000, 9, layers=["newlines"])
    side = drawn.shape[0] // 3
    for row in range(3):
        strip = drawn[row * side : (row + 1) * side]
        assert has_colour(strip[:, 2 * side :], NEWLINE)
        assert (strip[:, : 2 * side] == PICTURE).all()


def test_red_stays_red():
    pixels = np.full((50, 50, 3), (255, 0, 0), np.uint8)
    png = plan_png(pixels, plan_tiles(SizePx(50, 50), 1), layers=[])
    assert Image.open(io.BytesIO(png)).convert("RGB").getpixel((600, 600)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("height", "width", "max_patches"), [(1, 1, 64), (1, 9000, 4), (9000, 1, 4), (5133, 816, 55), (3, 2, 1)]
)
def test_extreme_shapes_are_drawn_within_bounds(height, width, max_patches):
    drawn = draw(height, width, max_patches)
    assert 1200 <= max(drawn.shape) <= 2000


def test_pixels_that_do_not_fit_the_plan_are_refused():
    with pytest.raises(ValueError, match="expected uint8 pixels"):
        plan_png(np.zeros((10, 20, 3), np.uint8), plan_tiles(SizePx(20, 10), 4))
