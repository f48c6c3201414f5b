"""The token ribbon: the sequence that the language model gets, to scale, as SVG.

text | global view, 12 rows each ended by a newline | separator | local rows, each ended by a newline | text

A page may insert the result as it is: it holds numbers and fixed words only.
"""

from __future__ import annotations

from ixc.plan_cells import PlanCells, plan_cells
from ixc.single_view import ImagePlan
from ixc.tiling import NUM_GLOBAL_TOKENS, TOKENS_PER_SIDE, TilePlan

WIDTH, HEIGHT = 1000, 24
"""The view box; the page stretches it to its width."""

TEXT_FILL = "#cbd0e0"
GLOBAL_FILL = "#8cb4e8"
LOCAL_FILLS = ("#8b84f0", "#a5a0f5")
"""Tile rows alternate, so that their number can be counted."""
ACCENT = "#4f46e5"
SEPARATOR_FILL = "#c2410c"
NEWLINE_TICK = "#c2410c"

_MIN_SEPARATOR = 3.0
_MIN_TICK = 0.9
_MAX_TICK_SHARE = 0.3
"""A newline is drawn wider than its one token so that it can be seen, but never more than this share of its row."""
_TICK_HEIGHT = 6
"""Along the lower edge only: over the full height, close ticks would discolour the ribbon."""
_MIN_TICK_PERIOD = 2.0
"""Closer together than this, ticks would run into one line: then only the last newline of each tile row is marked."""


def ribbon_svg(plan: ImagePlan, num_text_before: int, num_text_after: int) -> str:
    """The whole prompt as an ``<svg>`` 1000 units wide: ``num_text_before`` + visual + ``num_text_after`` tokens.

    Stretches are to scale. They carry ``data-part`` ("text-before", "global", "separator", "text-after"), ``data-row`` (the
    band of one tile row) or ``data-tile``: one path for each tile, dashed so that it covers exactly that tile's 12 runs of 12
    tokens and takes the pointer there. ``data-before`` and ``data-total`` on the ``<svg>`` turn a place into a token. Rows and
    tiles count from 0. A plan without tiles has neither global view, separator nor newlines; its cells stand in for the tiles.
    Raises ValueError for a negative number of tokens.
    """
    if num_text_before < 0 or num_text_after < 0:
        raise ValueError(f"numbers of text tokens cannot be negative: {num_text_before}, {num_text_after}")
    total = num_text_before + plan.num_visual_tokens + num_text_after
    unit = WIDTH / total
    start = num_text_before * unit
    cells = plan_cells(plan)
    image = _cell_rows(cells, start, unit) + _cell_runs(cells, start, unit)
    if isinstance(plan, TilePlan):
        global_view = _rect("global", start, NUM_GLOBAL_TOKENS * unit, GLOBAL_FILL)
        global_view += _ticks(start, TOKENS_PER_SIDE + 1, TOKENS_PER_SIDE, unit)
        image = global_view + image + _local_ticks(plan, start, unit) + _separator(plan, start, unit)
    parts = (
        _rect("text-before", 0, start, TEXT_FILL)
        + image
        + _rect("text-after", start + plan.num_visual_tokens * unit, num_text_after * unit, TEXT_FILL)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ixc-ribbon" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
        f'data-before="{num_text_before}" data-total="{total}">{parts}</svg>'
    )


def _rect(part: str, x: float, width: float, fill: str) -> str:
    if width <= 0:
        return ""
    return f'<rect data-part="{part}" x="{_number(x)}" width="{_number(width)}" height="{HEIGHT}" fill="{fill}"/>'


def _separator(plan: TilePlan, start: float, unit: float) -> str:
    """One token, drawn wide enough to be seen, around its place."""
    width = max(unit, _MIN_SEPARATOR)
    middle = start + (plan.separator_index + 0.5) * unit
    return _rect("separator", middle - width / 2, width, SEPARATOR_FILL)


def _cell_rows(cells: PlanCells, start: float, unit: float) -> str:
    width = cells.side_tokens * cells.row_tokens * unit
    first = start + cells.first_token * unit
    bands = "".join(
        f'<path data-row="{row}" d="M{_number(first + row * width)} {HEIGHT // 2}h{_number(width)}"'
        + (f' stroke="{LOCAL_FILLS[1]}"' if row % 2 else "")
        + "/>"
        for row in range(cells.grid.rows)
    )
    return f'<g class="ixc-rows" stroke="{LOCAL_FILLS[0]}" stroke-width="{HEIGHT}">{bands}</g>'


def _cell_runs(cells: PlanCells, start: float, unit: float) -> str:
    """One path a cell. All cells have the same dashes: a run of its tokens, then the rest of the token row."""
    run = cells.side_tokens * unit
    gap = (cells.row_tokens - cells.side_tokens) * unit
    paths = ""
    for cell in range(cells.num_cells):
        ranges = cells.token_ranges(cell)
        first, stop = ranges[0].start, ranges[-1].stop
        paths += (
            f'<path data-tile="{cell}" d="M{_number(start + first * unit)} {HEIGHT // 2}h{_number((stop - first) * unit)}"/>'
        )
    return (
        f'<g class="ixc-runs" fill="none" stroke="{ACCENT}" stroke-opacity="0" stroke-width="{HEIGHT}" '
        f'stroke-dasharray="{run:.5f} {gap:.5f}" pointer-events="stroke">{paths}</g>'
    )


def _local_ticks(plan: TilePlan, start: float, unit: float) -> str:
    first = start + plan.local_start * unit
    if plan.local_row_tokens * unit >= _MIN_TICK_PERIOD:
        return _ticks(first, plan.local_row_tokens, plan.num_local_rows, unit)
    return _ticks(first, TOKENS_PER_SIDE * plan.local_row_tokens, plan.grid.rows, unit)


def _ticks(start: float, row_tokens: int, num_rows: int, unit: float) -> str:
    """Marks at the ends of ``num_rows`` rows of ``row_tokens`` tokens from ``start`` on: one dashed line."""
    period = row_tokens * unit
    tick = max(unit, min(_MIN_TICK, period * _MAX_TICK_SHARE))
    line = f"M{start + period - tick:.5f} {HEIGHT - _TICK_HEIGHT // 2}h{(num_rows - 1) * period + tick:.5f}"
    return (
        f'<path class="ixc-ticks" d="{line}" fill="none" stroke="{NEWLINE_TICK}" stroke-width="{_TICK_HEIGHT}" '
        f'stroke-dasharray="{tick:.5f} {period - tick:.5f}" pointer-events="none"/>'
    )


def _number(value: float) -> str:
    """At most three decimals: a token may be a tenth of a unit wide."""
    return f"{value:.3f}".rstrip("0").removesuffix(".")
