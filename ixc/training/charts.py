"""Where everything stands on a chart: lying or standing bars, a line, a pie. Every value is printed beside what shows it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ixc.tiling import SizePx
from ixc.training.layout import Document, Figure, Rgb, TextLine, finish_for
from ixc.training.records import Record
from ixc.training.sheets import Item, Sheet, Style, lay_out_sheet

STANDING_SHARE = 0.4
"""Share of the bar charts whose bars stand."""
LEGEND_SHARE = 0.5
"""Share of the pies with their names in a list; the others have them around."""


def lay_out_chart(rng: np.random.Generator, record: Record, style: Style) -> tuple[Document, dict[str, int]]:
    """The document, and for every key of the record's sheet the index of its line."""
    style = replace(style, rules="none")
    if record.kind == "pie chart":
        return _lay_out_pie(rng, record, style)
    if record.kind == "line chart" or rng.random() < STANDING_SHARE:
        return _lay_out_columns(rng, record, style)
    return _lay_out_lying_bars(rng, record, style)


def _lay_out_lying_bars(rng: np.random.Generator, record: Record, style: Style) -> tuple[Document, dict[str, int]]:
    """Values stand at their bars' ends: the sheet is laid out with them at the left of their column, then bars push them."""
    style = replace(style, gap=0.8)
    longest = style.font_px * float(rng.uniform(4, 10))
    filler = Item("", 2)
    rows = [(*row, filler) if len(row) == 2 else row for row in record.sheet.rows]
    document, index_of = lay_out_sheet(rng, Sheet(rows), style)
    lines, figures = list(document.lines), list(document.figures)
    colours = _colours(rng, len(record.values))
    for (_, value_item), value, colour in zip(_chart_rows(record), record.values, colours, strict=True):
        index = index_of[value_item.key]
        line = lines[index]
        top, bottom = line.baseline_px - 0.8 * style.font_px, line.baseline_px + 0.15 * style.font_px
        end = line.left_px + max(value * longest / max(record.values), 2)
        figures.append(Figure("rectangle", (line.left_px, top, end, bottom), colour))
        lines[index] = replace(line, left_px=end + 0.35 * style.font_px)
    size_px = SizePx(document.size_px.height, round(document.size_px.width + longest))
    return replace(document, size_px=size_px, lines=tuple(lines), figures=tuple(figures)), index_of


def _lay_out_columns(rng: np.random.Generator, record: Record, style: Style) -> tuple[Document, dict[str, int]]:
    """Standing bars, or the points of a line: names below them, values above."""
    em, rows = style.font_px, _chart_rows(record)
    pitch = max(_width(item, style) for row in rows for item in row) + em * float(rng.uniform(0.5, 1.5))
    highest = em * float(rng.uniform(3, 8))
    document, index_of = _lay_out_heading(rng, record, style)
    left = style.margin * em
    ground = document.size_px.height + 1.6 * em + highest
    lines, figures = list(document.lines), _axes(rng, style, (left, ground, left + pitch * len(rows)), highest)
    centres = [left + (index + 0.5) * pitch for index in range(len(rows))]
    tops = [ground - max(value * highest / max(record.values), 2) for value in record.values]
    if record.kind == "line chart":
        figures += _line_through(rng, list(zip(centres, tops, strict=True)), em)
    else:
        half, colours = pitch * float(rng.uniform(0.15, 0.4)), _colours(rng, len(rows))
        for centre, top, colour in zip(centres, tops, colours, strict=True):
            figures.append(Figure("rectangle", (centre - half, top, centre + half, ground), colour))
    for (name, value), centre, top in zip(rows, centres, tops, strict=True):
        index_of |= {name.key: len(lines), value.key: len(lines) + 1}
        lines.append(_text(name, style, centre - _width(name, style) / 2, ground + 1.2 * em))
        lines.append(_text(value, style, centre - _width(value, style) / 2, top - 0.45 * em))
    width = max(document.size_px.width, round(2 * left + pitch * len(rows)))
    size_px = SizePx(round(ground + 1.6 * em + left), width)
    return replace(document, size_px=size_px, lines=tuple(lines), figures=tuple(figures)), index_of


def _lay_out_pie(rng: np.random.Generator, record: Record, style: Style) -> tuple[Document, dict[str, int]]:
    """A disc, with the names and values in a list beside it or around it."""
    em, rows = style.font_px, _chart_rows(record)
    document, index_of = _lay_out_heading(rng, record, style)
    margin, radius = style.margin * em, em * float(rng.uniform(2.5, 5))
    has_legend = rng.random() < LEGEND_SHARE
    texts = [_width(name, style) + 0.5 * em + _width(value, style) for name, value in rows]
    side = 0.0 if has_legend else max(texts) + 0.6 * em
    above = 0.0 if has_legend else 1.5 * em
    top = document.size_px.height + above
    centre = (margin + side + radius, top + radius)
    colours = _colours(rng, len(rows), always_new=True)
    ends = np.cumsum((0, *record.values)) * 360 / sum(record.values) + float(rng.uniform(0, 360))
    disc = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
    figures = [
        Figure("slice", disc, colour, degrees=(float(start), float(end)))
        for colour, start, end in zip(colours, ends[:-1], ends[1:], strict=True)
    ]
    lines = list(document.lines)
    value_px = max(_width(name, style) for name, _ in rows) + 0.8 * em
    height = max(2 * radius, style.pitch * em * len(rows)) if has_legend else 2 * radius
    for index, (name, value) in enumerate(rows):
        if has_legend:
            start = centre[0] + radius + 1.8 * em
            baseline = top + (index + 0.7) * style.pitch * em
            box = (start - 0.9 * em, baseline - 0.65 * em, start - 0.25 * em, baseline)
            figures.append(Figure("rectangle", box, colours[index]))
            value_left = start + value_px
        else:
            angle = math.radians((ends[index] + ends[index + 1]) / 2)
            right, down = math.cos(angle), math.sin(angle)
            start = centre[0] + (radius + 0.5 * em) * right - (texts[index] if right < 0 else 0)
            baseline = centre[1] + (radius + 0.7 * em) * down + 0.35 * em
            value_left = start + _width(name, style) + 0.5 * em
        index_of |= {name.key: len(lines), value.key: len(lines) + 1}
        lines += [_text(name, style, start, baseline), _text(value, style, value_left, baseline)]
    right_px = max(line.left_px + line.font.starts_px(line.font_px, line.text)[-1] for line in lines)
    right_px = max(right_px, centre[0] + radius)
    size_px = SizePx(round(top + height + above + margin), max(document.size_px.width, round(right_px + margin)))
    return replace(document, size_px=size_px, lines=tuple(lines), figures=tuple(figures)), index_of


def _lay_out_heading(rng: np.random.Generator, record: Record, style: Style) -> tuple[Document, dict[str, int]]:
    """What stands above the chart, as a sheet; without a heading it is a strip of background."""
    above = [row for row in record.sheet.rows if len(row) != 2]
    if any(above):
        return lay_out_sheet(rng, Sheet(above), style)
    edge = round(style.margin * style.font_px)
    return Document(SizePx(edge, edge), style.background, (), "", finish=finish_for(rng, style.font_px)), {}


def _chart_rows(record: Record) -> list[tuple[Item, Item]]:
    """Name and value of everything that the chart shows."""
    return [row for row in record.sheet.rows if len(row) == 2]


def _line_through(rng: np.random.Generator, points: Sequence[tuple[float, float]], em: float) -> list[Figure]:
    (colour,), thick = _colours(rng, 1), max(1.0, em * float(rng.uniform(0.05, 0.15)))
    figures = [Figure("segment", (*a, *b), colour, width_px=thick) for a, b in itertools.pairwise(points)]
    radius = thick * float(rng.uniform(0.8, 2))
    return [*figures, *(Figure("circle", (x - radius, y - radius, x + radius, y + radius), colour) for x, y in points)]


def _axes(rng: np.random.Generator, style: Style, ground: tuple[float, float, float], highest: float) -> list[Figure]:
    """The line below (``ground``: its left end, height and right end), often one on the left, at times lines across."""
    left, y, right = ground
    thick = max(1.0, style.font_px / 18)
    grey = tuple((b + c) // 2 for b, c in zip(style.background, style.colour, strict=True))
    light = tuple((5 * b + c) // 6 for b, c in zip(style.background, style.colour, strict=True))
    figures = [Figure("rectangle", (left, y, right, y + thick), grey)]
    if rng.random() < 0.6:
        figures.append(Figure("rectangle", (left, y - highest, left + thick, y), grey))
    if rng.random() < 0.4:
        heights = [y - highest * share for share in (0.25, 0.5, 0.75, 1.0)]
        figures = [*(Figure("rectangle", (left, h, right, h + thick / 2), light) for h in heights), *figures]
    return figures


def _colours(rng: np.random.Generator, num: int, *, always_new: bool = False) -> list[Rgb]:
    """One colour for all, or a new one now and then."""
    found: list[Rgb] = []
    for _ in range(num):
        if always_new or not found or rng.random() < 0.3:
            found.append(tuple(int(v) for v in rng.integers(30, 220, 3)))
        else:
            found.append(found[-1])
    return found


def _width(item: Item, style: Style) -> float:
    return style.font.starts_px(style.font_px, item.text)[-1]


def _text(item: Item, style: Style, left_px: float, baseline_px: float) -> TextLine:
    return TextLine(item.text, style.font, style.font_px, left_px, baseline_px, style.colour)
