"""Where everything stands in the drawing of a plan: one geometry, rendered as SVG (overlay.py) and as pixels (raster.py)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ixc.plan_cells import PlanCells, plan_cells
from ixc.single_view import ImagePlan
from ixc.tiling import RectPx, SizePx, TilePlan

LAYERS = ("padding", "tiles", "numbers", "newlines")
"""What can be drawn, from the bottom up."""

ACCENT = "#4f46e5"
NEWLINE = "#c2410c"
PADDING_FILL = "#eef2ff"
PADDING_HATCH = "#c7d2fe"
BADGE = "#ffffff"

VIEW_UNITS = 720
"""Sizes of text and lines are chosen for a picture whose longer side is shown at about this many screen pixels."""

_EM_AT_VIEW = 12
_EM_PER_TILE = 0.3
"""Text never takes more than this share of a tile (or other cell), however small the tiles are shown."""

# The return arrow in units of the text size, from its box's centre: one stroke that goes back over the arrow's tip.
_RETURN_ARROW = ((0.45, -0.45), (0.45, 0.2), (-0.45, 0.2), (-0.15, -0.1), (-0.45, 0.2), (-0.15, 0.5))


@dataclass(frozen=True, slots=True)
class Badge:
    """A label on its white box; ``box`` in padded pixels."""

    text: str
    box: RectPx


@dataclass(frozen=True, slots=True)
class PlanDrawing:
    """The drawing of a plan in padded pixels, x to the right and y down."""

    size_px: SizePx
    unit: float
    """Padded pixels per screen pixel at the intended display size."""
    em: float
    """Text size."""
    picture: RectPx
    """Where the image lies; the rest is padding."""
    padding: tuple[RectPx, ...]
    tiles: tuple[RectPx, ...]
    """The plan's cells: its tiles, or the regions of a single view."""
    numbers: tuple[Badge, ...]
    """One per tile, counting from 1."""
    newline_boxes: tuple[RectPx, ...]
    """One per tile row, at its right end, for the newline tokens of that row's 12 token rows; only tiles have them."""
    newline_arrows: tuple[tuple[tuple[float, float], ...], ...]
    """For each of them a polyline of (x, y)."""


def draw_plan(plan: ImagePlan) -> PlanDrawing:
    """Lay out the drawing of ``plan``."""
    size, pad, resized, cells = plan.padded_px, plan.padding_px, plan.resized_px, plan_cells(plan)
    unit = max(size.height, size.width) / VIEW_UNITS
    em = _snap(min(_EM_AT_VIEW * unit, _EM_PER_TILE * cells.side_px), unit)
    picture = RectPx(pad.left, pad.top, pad.left + resized.width, pad.top + resized.height)
    tiles = _cell_rects(cells)
    newline_rows = range(cells.grid.rows) if isinstance(plan, TilePlan) else ()
    centres = [(size.width - 1.1 * em, (row + 0.5) * cells.side_px) for row in newline_rows]
    boxes = (RectPx(x - 0.75 * em, y - 0.65 * em, x + 0.75 * em, y + 0.65 * em) for x, y in centres)
    return PlanDrawing(
        size_px=size,
        unit=unit,
        em=em,
        picture=picture,
        padding=_padding_rects(plan, picture),
        tiles=tiles,
        numbers=tuple(_number_badge(number, tile, em, unit) for number, tile in enumerate(tiles, start=1)),
        newline_boxes=tuple(_snapped(box, unit) for box in boxes),
        newline_arrows=tuple(
            tuple((_snap(x + dx * em, unit), _snap(y + dy * em, unit)) for dx, dy in _RETURN_ARROW) for x, y in centres
        ),
    )


def check_layers(layers: Iterable[str]) -> frozenset[str]:
    """``layers`` as a set. Raises ValueError for a name that is not in LAYERS."""
    chosen = frozenset(layers)
    if unknown := chosen.difference(LAYERS):
        raise ValueError(f"unknown layers {sorted(unknown)}; there are {', '.join(LAYERS)}")
    return chosen


def check_pixels(pixels_HWC: np.ndarray, plan: ImagePlan) -> None:
    """Raises ValueError unless they are uint8 RGB of the plan's original size."""
    expected = (plan.original_px.height, plan.original_px.width, 3)
    if pixels_HWC.shape != expected or pixels_HWC.dtype != np.uint8:
        raise ValueError(f"expected uint8 pixels of shape {expected}, got {pixels_HWC.dtype} {pixels_HWC.shape}")


def _cell_rects(cells: PlanCells) -> tuple[RectPx, ...]:
    side = cells.side_px
    return tuple(
        RectPx(col * side, row * side, (col + 1) * side, (row + 1) * side)
        for row in range(cells.grid.rows)
        for col in range(cells.grid.cols)
    )


def _padding_rects(plan: ImagePlan, picture: RectPx) -> tuple[RectPx, ...]:
    """The padding on each side; it is never on two neighbouring sides, so the rectangles cannot overlap."""
    size = plan.padded_px
    rects = (
        RectPx(0, 0, size.width, picture.top),
        RectPx(0, picture.bottom, size.width, size.height),
        RectPx(0, 0, picture.left, size.height),
        RectPx(picture.right, 0, size.width, size.height),
    )
    return tuple(rect for rect in rects if not rect.is_empty)


def _number_badge(number: int, tile: RectPx, em: float, unit: float) -> Badge:
    text = str(number)
    left, top = tile.left + 0.35 * em, tile.top + 0.3 * em
    return Badge(text, _snapped(RectPx(left, top, left + (0.6 * len(text) + 0.7) * em, top + 1.3 * em), unit))


def _snapped(rect: RectPx, unit: float) -> RectPx:
    return RectPx(*(_snap(edge, unit) for edge in (rect.left, rect.top, rect.right, rect.bottom)))


def _snap(value: float, unit: float) -> float:
    """``value`` to whole padded pixels where half of one is less than a quarter of a screen pixel: shorter SVG."""
    return round(value) if unit >= 2 else round(value, 1)
