"""The plan as SVG: what is drawn where, checked by parsing it; and nothing in it but numbers and fixed words."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ixc.imaging.overlay import plan_svg, plan_svg_document
from ixc.imaging.ribbon import ribbon_svg
from ixc.tiling import SizePx, plan_tiles

SVG = "{http://www.w3.org/2000/svg}"
# 3840x1600 at 25: 7x3 tiles, padded to 2352x1008, 14 px of padding above and below.
WIDE = plan_tiles(SizePx(height=1600, width=3840), 25)
# 816x5133 at 25: 2x12 tiles, padded to 672x4032; 816 * 4032 / 5133 = 640 px of picture, 16 px on each side.
TALL = plan_tiles(SizePx(height=5133, width=816), 25)

SIZES = st.builds(SizePx, st.integers(1, 20_000), st.integers(1, 20_000))


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def layer(svg: str, name: str) -> ElementTree.Element:
    (group,) = [group for group in parse(svg).findall(f"{SVG}g") if group.get("class") == f"ixc-{name}"]
    return group


def rect_of(element: ElementTree.Element) -> tuple[float, ...]:
    return tuple(float(element.get(name, 0)) for name in ("x", "y", "width", "height"))


def number_pairs(path: str) -> list[tuple[float, float]]:
    numbers = [float(n) for n in re.findall(r"-?\d*\.?\d+", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_each_tile_has_its_square():
    root = parse(plan_svg(WIDE))
    assert root.get("viewBox") == "0 0 2352 1008"
    assert (root.get("data-rows"), root.get("data-cols")) == ("3", "7")
    rects = layer(plan_svg(WIDE), "tiles").findall(f"{SVG}rect")
    assert [(int(rect.get("data-tile")), rect_of(rect)) for rect in rects] == [
        (7 * row + col, (336 * col, 336 * row, 336, 336)) for row in range(3) for col in range(7)
    ]


def test_borders_stand_between_all_tiles_and_around_them():
    paths = {path.get("class"): path for path in layer(plan_svg(WIDE), "tiles").findall(f"{SVG}path")}
    path = paths["ixc-borders"]
    lines = re.findall(r"M(\d+) (\d+)([hv])(\d+)", path.get("d"))
    assert "".join(f"M{x} {y}{way}{length}" for x, y, way, length in lines) == path.get("d")
    assert sorted(int(y) for x, y, way, length in lines if (x, way, length) == ("0", "h", "2352")) == [0, 336, 672, 1008]
    assert sorted(int(x) for x, y, way, length in lines if (y, way, length) == ("0", "v", "1008")) == [
        336 * n for n in range(8)
    ]
    assert len(lines) == 4 + 8
    assert path.get("vector-effect") == "non-scaling-stroke"


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (WIDE, [(0, 0, 2352, 14), (0, 994, 2352, 14)]),
        (TALL, [(0, 0, 16, 4032), (656, 0, 16, 4032)]),
        (plan_tiles(SizePx(500, 500), 9), []),
    ],
    ids=["wide", "tall", "square"],
)
def test_padding_is_hatched_where_it_is(plan, expected):
    group = layer(plan_svg(plan), "padding")
    assert [rect_of(rect) for rect in group.findall(f"{SVG}rect")] == expected
    (pattern,) = group.findall(f"{SVG}pattern")
    assert group.get("fill") == f"url(#{pattern.get('id')})"


@pytest.mark.parametrize("plan", [WIDE, TALL, plan_tiles(SizePx(20, 20), 1), plan_tiles(SizePx(10, 5000), 64)])
def test_numbers_count_from_one_and_stand_in_their_tiles(plan):
    texts = layer(plan_svg(plan), "numbers").findall(f"{SVG}text")
    assert [text.text for text in texts] == [str(number) for number in range(1, plan.num_tiles + 1)]
    for tile, text in enumerate(texts):
        row, col = divmod(tile, plan.grid.cols)
        assert 336 * col < float(text.get("x")) < 336 * (col + 1)
        assert 336 * row < float(text.get("y")) < 336 * (row + 1)


@pytest.mark.parametrize("plan", [WIDE, TALL])
def test_one_newline_mark_at_the_end_of_each_tile_row(plan):
    (arrows,) = [path for path in layer(plan_svg(plan), "newlines").findall(f"{SVG}path") if path.get("fill") == "none"]
    marks = re.findall(r"M[^M]+", arrows.get("d"))
    assert len(marks) == plan.grid.rows
    for row, mark in enumerate(marks):
        start, *steps = number_pairs(mark)
        points = np.cumsum([start, *steps], axis=0)
        assert (points[:, 0] > 336 * (plan.grid.cols - 0.5)).all()
        assert (points[:, 0] < 336 * plan.grid.cols).all()
        assert (points[:, 1] > 336 * row).all()
        assert (points[:, 1] < 336 * (row + 1)).all()


def test_layers_are_drawn_as_asked():
    everything = {group.get("class") for group in parse(plan_svg(WIDE)).findall(f"{SVG}g")}
    assert everything == {"ixc-padding", "ixc-tiles", "ixc-numbers", "ixc-newlines"}
    some = [group.get("class") for group in parse(plan_svg(WIDE, layers=["newlines", "tiles"])).findall(f"{SVG}g")]
    assert some == ["ixc-tiles", "ixc-newlines"]
    with pytest.raises(ValueError, match="unknown layers"):
        plan_svg(WIDE, layers=["grid"])


@settings(max_examples=60)
@given(size=SIZES, max_patches=st.integers(1, 64))
def test_any_plan_is_small_well_formed_and_holds_no_text_but_numbers(size, max_patches):
    plan = plan_tiles(size, max_patches)
    svg = plan_svg(plan)
    assert len(svg.encode()) <= 16 * 1024
    root = parse(svg)
    assert len(root.findall(f".//{SVG}rect[@data-tile]")) == plan.grid.rows * plan.grid.cols
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "g", "rect", "path", "text", "pattern"}
    names = {name for element in root.iter() for name in element.keys()}  # noqa: SIM118
    assert not [name for name in names if name.startswith("on") or "href" in name]
    assert all((element.text or "").isdigit() for element in root.iter(f"{SVG}text"))
    assert "nan" not in svg
    assert "inf" not in svg


def test_what_the_slider_sends_for_a_4k_image_stays_within_the_budget():
    for max_patches in (25, 55, 64):
        plan = plan_tiles(SizePx(2160, 3840), max_patches)
        assert len(plan_svg(plan) + ribbon_svg(plan, 90, 30)) <= 16_000


def test_a_file_of_its_own_carries_the_picture_in_its_place():
    pixels = np.full((1600, 3840, 3), (200, 30, 60), np.uint8)
    document = plan_svg_document(WIDE, pixels)
    assert document.startswith("<?xml")
    root = parse(document)
    assert (float(root.get("width")), float(root.get("height"))) == (1440, pytest.approx(1440 * 1008 / 2352, abs=0.1))
    (image,) = root.findall(f"{SVG}image")
    assert rect_of(image) == (0, 14, 2352, 980)
    kind, data = image.get("href").split(",", 1)
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (1600, 667)
        assert np.abs(np.subtract(picture.getpixel((800, 300)), (200, 30, 60))).max() <= 4
    assert len(parse(plan_svg_document(WIDE)).findall(f"{SVG}image")) == 0
    assert len(root.findall(f".//{SVG}rect[@data-tile]")) == 21


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((300, 900), np.uint8),
        np.zeros((300, 900, 4), np.uint8),
        np.zeros((300, 900, 3)),
        np.zeros((900, 300, 3), np.uint8),
    ],
    ids=["grey", "with transparency", "floats", "turned"],
)
def test_a_file_of_its_own_takes_the_plan_s_picture_only(pixels):
    with pytest.raises(ValueError, match=r"expected uint8 pixels of shape \(300, 900, 3\), got "):
        plan_svg_document(plan_tiles(SizePx(300, 900), 9), pixels)
