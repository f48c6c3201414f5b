"""Rows of text in columns become a document: the layout that receipts, invoices, forms, labels, tables and notices share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from ixc.tiling import SizePx
from ixc.training.fonts import FontFile
from ixc.training.layout import Document, Figure, Rgb, TextLine, finish_for, font_size_step

SPAN = -1
"""Column of a text that may be as wide as the whole sheet."""


class Align(StrEnum):
    """Where a text stands in its column; one as wide as the sheet, on the sheet."""

    LEFT = "left"
    CENTRE = "centre"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Item:
    """One text of a row, in column ``col``; ``key`` names it for the questions."""

    text: str
    col: int = SPAN
    key: str = ""
    align: Align = Align.LEFT
    is_heading: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """How a sheet is set. ``pitch`` is the distance of baselines and ``gap`` that of columns, in font sizes."""

    font: FontFile
    heading_font: FontFile
    font_px: int
    heading_scale: float
    pitch: float
    gap: float
    margin: float
    background: Rgb
    colour: Rgb
    accent: Rgb
    rules: str
    """none, rows (a line under every row), grid (and between columns), bands (every second row shaded), boxes or leaders."""


LAYOUTS = ("none", "none", "rows", "grid", "bands")
HELD_OUT_LAYOUTS = ("boxes", "leaders")
"""Ways to set a sheet that only the evaluation shows."""


@dataclass(slots=True)
class Sheet:
    """Rows from top to bottom; an empty row is a gap."""

    rows: list[tuple[Item, ...]] = field(default_factory=list)

    def add(self, *items: Item) -> None:
        self.rows.append(items)

    def gap(self) -> None:
        self.rows.append(())


def draw_style(rng: np.random.Generator, fonts: Sequence[FontFile], layouts: Sequence[str] = LAYOUTS) -> Style:
    """Random type and colours; most sheets are dark on light."""
    font, heading_font = (fonts[rng.integers(len(fonts))] for _ in range(2))
    kind = rng.random()
    background = tuple(int(v) for v in rng.integers(228, 256, 3)) if kind < 0.5 else (255, 255, 255)
    colour = tuple(int(v) for v in rng.integers(0, 80, 3))
    accent = tuple(int(v) for v in rng.integers(0, 160, 3))
    if kind > 0.92:
        background, colour = tuple(255 - v for v in background), tuple(255 - v for v in colour)
        accent = tuple(255 - v for v in accent)
    return Style(
        font=font,
        heading_font=heading_font if rng.random() < 0.5 else font,
        font_px=font_size_step(float(rng.uniform(20, 44))),
        heading_scale=float(rng.choice((1.0, 1.25, 1.5))),
        pitch=float(rng.uniform(1.2, 1.8)),
        gap=float(rng.uniform(0.9, 2.5)),
        margin=float(rng.uniform(0.4, 1.6)),
        background=background,
        colour=colour,
        accent=accent,
        rules=str(layouts[rng.integers(len(layouts))]),
    )


def lay_out_sheet(rng: np.random.Generator, sheet: Sheet, style: Style) -> tuple[Document, dict[str, int]]:
    """The document, and for every key the index of its line."""
    num_cols = 1 + max((item.col for row in sheet.rows for item in row), default=SPAN)
    widths = [0.0] * num_cols
    widest = 0.0
    for row in sheet.rows:
        for item in row:
            if item.col == SPAN:
                widest = max(widest, _width(item, style))
            else:
                widths[item.col] = max(widths[item.col], _width(item, style))
    em = style.font_px
    between = style.gap * em
    total = sum(widths) + between * max(num_cols - 1, 0)
    if widest > total and num_cols > 1:
        between += (widest - total) / (num_cols - 1)
    content = max(widest, total)
    left, down = style.margin * em, style.margin * em
    starts = [left + sum(widths[:col]) + between * col for col in range(num_cols)]
    lines: list[TextLine] = []
    figures: list[Figure] = []
    index_of: dict[str, int] = {}
    num_table_rows = 0
    for row in sheet.rows:
        if not row:
            down += 0.6 * em
            continue
        size = max(_font_px(item, style) for item in row)
        height = style.pitch * size
        baseline = down + 0.5 * height + 0.35 * size
        is_table = all(item.col != SPAN for item in row)
        if is_table:
            num_table_rows += 1
            figures += _rules(style, left, down, content, height, num_table_rows, starts[1:])
        for item in row:
            width = _width(item, style)
            start, room = (left, content) if item.col == SPAN else (starts[item.col], widths[item.col])
            start += _SHARE_BEFORE[item.align] * (room - width)
            if item.key:
                index_of[item.key] = len(lines)
            font = style.heading_font if item.is_heading else style.font
            colour = style.accent if item.is_heading else style.colour
            lines.append(TextLine(item.text, font, _font_px(item, style), start, baseline, colour))
        if is_table and style.rules == "leaders" and len(row) == 2:
            ends = lines[-2].left_px + _width(row[0], style), lines[-1].left_px
            figures += _dots(style, ends[0] + 0.3 * em, ends[1] - 0.3 * em, baseline)
        down += height
    size_px = SizePx(round(down + left), round(content + 2 * left))
    document = Document(size_px, style.background, tuple(lines), "", finish=finish_for(rng, em), figures=tuple(figures))
    return document, index_of


def pad_to_aspect(rng: np.random.Generator, document: Document, aspect: float) -> Document:
    """The document on a larger sheet whose height is ``aspect`` times its width."""
    height, width = document.size_px.height, document.size_px.width
    new_width = max(width, round(height / aspect))
    new_height = max(height, round(new_width * aspect))
    right, down = rng.random() * (new_width - width), rng.random() * (new_height - height)

    def moved(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        return box[0] + right, box[1] + down, box[2] + right, box[3] + down

    lines = tuple(
        replace(
            line,
            left_px=line.left_px + right,
            baseline_px=line.baseline_px + down,
            plate=moved(line.plate) if line.plate else None,
        )
        for line in document.lines
    )
    figures = tuple(replace(figure, box=moved(figure.box)) for figure in document.figures)
    return replace(document, size_px=SizePx(new_height, new_width), lines=lines, figures=figures)


_SHARE_BEFORE = {Align.LEFT: 0.0, Align.CENTRE: 0.5, Align.RIGHT: 1.0}
"""Of the room that a text leaves free."""


def _font_px(item: Item, style: Style) -> int:
    return font_size_step(style.font_px * style.heading_scale) if item.is_heading else style.font_px


def _width(item: Item, style: Style) -> float:
    font = style.heading_font if item.is_heading else style.font
    return font.starts_px(_font_px(item, style), item.text)[-1]


def _rules(
    style: Style, left: float, top: float, width: float, height: float, number: int, starts: Sequence[float]
) -> list[Figure]:
    """Lines and shades of one table row."""
    bottom, right, thick = top + height, left + width, max(1.0, style.font_px / 18)
    grey = tuple((b + c) // 2 for b, c in zip(style.background, style.colour, strict=True))
    edge = 0.25 * style.font_px
    if style.rules == "bands" and number % 2:
        shade = tuple((9 * b + c) // 10 for b, c in zip(style.background, style.colour, strict=True))
        return [Figure("rectangle", (left - edge, top, right + edge, bottom), shade)]
    if style.rules == "boxes":
        return [Figure("frame", (left - edge, top + 1, right + edge, bottom - 1), grey)]
    figures = []
    if style.rules in ("rows", "grid"):
        figures.append(Figure("rectangle", (left - edge, bottom - thick, right + edge, bottom), grey))
    if style.rules == "grid":
        middles = [start - 0.45 * style.gap * style.font_px for start in starts]
        figures += [Figure("rectangle", (middle, top, middle + thick, bottom), grey) for middle in middles]
    return figures


def _dots(style: Style, left: float, right: float, baseline: float) -> list[Figure]:
    size, step = max(1.0, style.font_px / 14), 0.4 * style.font_px
    return [Figure("rectangle", (x, baseline - size, x + size, baseline), style.colour) for x in np.arange(left, right, step)]
