"""The token ribbon against the token sequence written out by hand, token by token."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixc.imaging.ribbon import ribbon_svg
from ixc.single_view import SingleViewPlan
from ixc.tiling import SizePx, plan_tiles

SVG = "{http://www.w3.org/2000/svg}"
TOLERANCE = 0.02
"""In units of the ribbon's 1000: a fiftieth of a screen pixel."""


def spell_out(rows: int, cols: int, before: int, after: int) -> list[str]:
    """Every token of the prompt by name."""
    sequence = ["text"] * before
    for _ in range(12):
        sequence += ["global"] * 12 + ["newline"]
    sequence.append("separator")
    for token_row in range(12 * rows):
        for col in range(cols):
            sequence += [f"tile {token_row // 12 * cols + col}"] * 12
        sequence.append("newline")
    return sequence + ["text"] * after


def runs_of(sequence: list[str], name: str) -> list[tuple[int, int]]:
    """Start and stop of each unbroken run of ``name``."""
    edges = [n for n in range(len(sequence) + 1) if (sequence[n : n + 1] == [name]) != (n > 0 and sequence[n - 1] == name)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def dashes(path: ElementTree.Element, pattern: str) -> list[tuple[float, float]]:
    """Start and stop of each dash of a horizontal line."""
    x, length = map(float, re.fullmatch(r"M([\d.]+) \d+h([\d.]+)", path.get("d")).groups())
    dash, gap = map(float, pattern.split())
    count = round((length - dash) / (dash + gap)) + 1
    assert (count - 1) * (dash + gap) + dash == pytest.approx(length, abs=TOLERANCE)
    return [(x + n * (dash + gap), x + n * (dash + gap) + dash) for n in range(count)]


CASES = [(SizePx(1600, 3840), 25, 90, 21), (SizePx(500, 300), 9, 0, 0), (SizePx(336, 336), 1, 7, 3)]


@pytest.mark.parametrize(("size", "max_patches", "before", "after"), CASES)
def test_each_tiles_dashes_are_its_tokens_to_scale(size, max_patches, before, after):
    plan = plan_tiles(size, max_patches)
    sequence = spell_out(plan.grid.rows, plan.grid.cols, before, after)
    root = ElementTree.fromstring(ribbon_svg(plan, before, after))
    assert int(root.get("data-total")) == len(sequence)
    assert int(root.get("data-before")) == before
    unit = 1000 / len(sequence)
    (group,) = [group for group in root.findall(f"{SVG}g") if group.get("class") == "ixc-runs"]
    paths = group.findall(f"{SVG}path")
    assert [int(path.get("data-tile")) for path in paths] == list(range(plan.num_tiles))
    for tile, path in enumerate(paths):
        expected = [(start * unit, stop * unit) for start, stop in runs_of(sequence, f"tile {tile}")]
        assert len(expected) == 12
        for found, wanted in zip(dashes(path, group.get("stroke-dasharray")), expected, strict=True):
            assert found == pytest.approx(wanted, abs=TOLERANCE)


@pytest.mark.parametrize(("size", "max_patches", "before", "after"), CASES)
def test_every_newline_has_a_tick_that_ends_where_its_token_ends(size, max_patches, before, after):
    plan = plan_tiles(size, max_patches)
    sequence = spell_out(plan.grid.rows, plan.grid.cols, before, after)
    root = ElementTree.fromstring(ribbon_svg(plan, before, after))
    ticks = [path for path in root.findall(f"{SVG}path") if path.get("class") == "ixc-ticks"]
    ends = [stop for path in ticks for _, stop in dashes(path, path.get("stroke-dasharray"))]
    assert ends == pytest.approx([1000 / len(sequence) * stop for _, stop in runs_of(sequence, "newline")], abs=TOLERANCE)


def test_parts_and_rows_follow_each_other_without_gaps():
    before, after = 90, 21
    plan = plan_tiles(SizePx(1600, 3840), 25)
    root = ElementTree.fromstring(ribbon_svg(plan, before, after))
    unit = 1000 / (before + 3217 + after)
    parts = {rect.get("data-part"): rect for rect in root.findall(f"{SVG}rect")}
    spans = {name: (float(rect.get("x")), float(rect.get("x")) + float(rect.get("width"))) for name, rect in parts.items()}
    assert spans["text-before"] == pytest.approx((0, 90 * unit), abs=TOLERANCE)
    assert spans["global"] == pytest.approx((90 * unit, 246 * unit), abs=TOLERANCE)
    assert spans["text-after"] == pytest.approx((1000 - 21 * unit, 1000), abs=TOLERANCE)
    # The separator is one token, drawn wider, around its place.
    assert sum(spans["separator"]) / 2 == pytest.approx(246.5 * unit, abs=TOLERANCE)
    rows = root.findall(f".//{SVG}path[@data-row]")
    assert [row.get("data-row") for row in rows] == ["0", "1", "2"]
    position = 247 * unit
    for row in rows:
        x, width = map(float, re.fullmatch(r"M([\d.]+) \d+h([\d.]+)", row.get("d")).groups())
        assert x == pytest.approx(position, abs=TOLERANCE)
        position = x + width
    assert position == pytest.approx(spans["text-after"][0], abs=TOLERANCE)


def test_a_single_view_is_rows_of_tokens_and_nothing_else():
    # 490 px: 35 x 35 tokens, 7 x 7 regions of 5 x 5. Region 9 (row 1, column 2) begins at token 5 * 35 + 10.
    root = ElementTree.fromstring(ribbon_svg(SingleViewPlan(SizePx(100, 300), 490), 90, 21))
    unit = 1000 / (90 + 1225 + 21)
    assert [rect.get("data-part") for rect in root.findall(f"{SVG}rect")] == ["text-before", "text-after"]
    assert len(root.findall(f".//{SVG}path[@data-row]")) == 7
    assert not [path for path in root.findall(f"{SVG}path") if path.get("class") == "ixc-ticks"]
    (group,) = [group for group in root.findall(f"{SVG}g") if group.get("class") == "ixc-runs"]
    path = group.findall(f"{SVG}path")[9]
    starts = [90 + 35 * row + 10 for row in range(5, 10)]
    for found, start in zip(dashes(path, group.get("stroke-dasharray")), starts, strict=True):
        assert found == pytest.approx((start * unit, (start + 5) * unit), abs=TOLERANCE)


def test_without_text_there_are_no_text_parts():
    root = ElementTree.fromstring(ribbon_svg(plan_tiles(SizePx(9, 9), 4), 0, 0))
    assert [rect.get("data-part") for rect in root.findall(f"{SVG}rect")] == ["global", "separator"]


@pytest.mark.parametrize("counts", [(-1, 0), (0, -1)])
def test_negative_text_is_refused(counts):
    with pytest.raises(ValueError, match="cannot be negative"):
        ribbon_svg(plan_tiles(SizePx(9, 9), 4), *counts)


@settings(max_examples=40)
@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 64), st.integers(0, 5000), st.integers(0, 5000))
def test_any_ribbon_is_small_and_well_formed(height, width, max_patches, before, after):
    plan = plan_tiles(SizePx(height, width), max_patches)
    svg = ribbon_svg(plan, before, after)
    assert len(svg) <= 8 * 1024
    root = ElementTree.fromstring(svg)
    assert len(root.findall(f".//{SVG}path[@data-tile]")) == plan.num_tiles
    assert not [element.text for element in root.iter() if element.text]
    # Ticks never run into one line.
    for path in root.findall(f"{SVG}path"):
        dash, gap = map(float, path.get("stroke-dasharray").split())
        assert gap > 0
        assert dash > 0
