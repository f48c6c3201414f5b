"""The layout explorer's figures, worked out by hand, and what it takes from a page that anybody may have written."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ixc.errors import BudgetOutOfRange
from ixc.imaging.decode import DecodedImage
from ixc.tiling import RectPx, SizePx
from ixc.ui.compare import Look, compare_page_value, offered_budgets


@pytest.fixture(scope="module")
def wide() -> DecodedImage:
    """3840 x 1600, the paper's example size."""
    pixels = np.random.default_rng(0).integers(0, 256, (1600, 3840, 3), dtype=np.uint8)
    return DecodedImage.from_pixels(pixels)


def test_what_each_way_of_cutting_keeps_of_the_papers_example(wide):
    value = compare_page_value(wide, Look(0.5, 0.5, budget=55), 64)
    single, tiles, small, trained = value["rows"]
    assert [row["plan"]["tokens"] for row in value["rows"]] == [1225, 8137, 576, 576]
    assert [row["views"] for row in value["rows"]] == [1, 56, 10, 10]
    assert single["usefulPixels"] == 490 * 490
    assert tiles["usefulPixels"] == 3696 * 1540  # 11 columns of 336; the height by the ratio, 140 padded
    assert (small["usefulPixels"], trained["usefulPixels"]) == (336 * 140, 1008 * 420)
    assert tiles["plan"]["paddingShare"] == pytest.approx(140 / 1680, abs=1e-4)
    assert trained["plan"]["paddingShare"] == pytest.approx(1 - 1600 / 3840, abs=1e-4)
    # A tenth of 3840 wide, three quarters of that high, around the middle.
    assert value["rect"] == [1728, 656, 2112, 944]
    left, top, right, bottom = trained["detail"]["rect"]
    assert left <= 1728 and top <= 656 and right >= 2112 and bottom >= 944  # noqa: PT018
    assert trained["detail"]["size"][0] in (101, 102)  # 384 * 1008 / 3840 = 100.8, in whole pixels


def test_the_original_is_shown_pixel_for_pixel(wide):
    value = compare_page_value(wide, Look(x=0, y=1, zoom=0.5), 64)
    png = base64.b64decode(value["original"].removeprefix("data:image/png;base64,"))
    shown = np.asarray(Image.open(io.BytesIO(png)))
    assert value["rect"] == [0, 1600 - 144, 192, 1600]
    assert (shown == wide.pixels_HWC[1456:, :192]).all()


def test_a_comparison_says_what_was_asked(wide):
    asked = {"x": 0.25, "y": 0.123456789, "zoom": 2, "budget": 9}
    value = compare_page_value(wide, Look.from_event(asked, 64), 64)
    assert value["askedFor"] == asked  # to the last digit, or the page would ask for ever


def test_an_enlarged_image_gains_no_detail():
    small = DecodedImage.from_pixels(np.zeros((100, 200, 3), np.uint8))
    rows = compare_page_value(small, Look(budget=25), 64)["rows"]
    assert {row["usefulPixels"] for row in rows} == {100 * 200}


@pytest.mark.parametrize(
    "data", [None, [], "x", {"x": "left", "y": float("nan"), "zoom": True}, {"x": 1e300, "y": -5}, {"zoom": 1e9}]
)
@pytest.mark.parametrize("size", [SizePx(1, 1), SizePx(20_000, 1), SizePx(3, 4000)])
def test_any_event_gives_a_detail_inside_the_image(data, size):
    look = Look.from_event(data, 64)
    rect = look.rect(DecodedImage.from_pixels(np.zeros((size.height, size.width, 3), np.uint8)))
    assert isinstance(rect, RectPx)
    assert 0 <= rect.left < rect.right <= size.width
    assert 0 <= rect.top < rect.bottom <= size.height
    assert look.zoom in (0.5, 1.0, 2.0)


def test_a_hostile_budget_is_refused():
    with pytest.raises(BudgetOutOfRange, match="from 1 to 64"):
        Look.from_event({"budget": 10**9}, 64)


@pytest.mark.parametrize(
    ("limit", "offered"),
    [(64, [1, 9, 16, 25, 55]), (55, [1, 9, 16, 25, 55]), (40, [1, 9, 16, 25, 40]), (25, [1, 9, 16, 25]), (5, [1, 5]), (1, [1])],
)
def test_offered_are_the_named_budgets_or_the_largest_there_is(limit, offered):
    assert offered_budgets(limit) == offered


def test_a_comparison_without_a_place_opens_where_the_detail_is_and_says_where():
    pixels = np.full((1000, 2000, 3), 255, np.uint8)
    pixels[800:830, 1700:1800] = np.random.default_rng(0).integers(0, 256, (30, 100, 3), dtype=np.uint8)
    image = DecodedImage.from_pixels(pixels)
    asked = {"x": None, "y": None, "zoom": 1, "budget": 9}
    value = compare_page_value(image, Look.from_event(asked, 64), 64)
    assert value["askedFor"] == asked
    left, top, right, bottom = value["rect"]
    assert left <= 1700 < 1800 <= right
    assert top <= 800 < 830 <= bottom
    x, y = value["place"]
    assert compare_page_value(image, Look(x, y, budget=9), 64)["rect"] == value["rect"]
