"""The parts of a plan that a person can point at, and the tokens of each: tiles, regions of one view. Standard library only.

A tile is a cell by itself, and so is a local block of the dual perspective. A single view has none, so its token map is divided
into equal squares.
"""

from __future__ import annotations

from dataclasses import dataclass

from ixc.dual_perspective import DualPerspectivePlan
from ixc.single_view import ImagePlan, SingleViewPlan
from ixc.tiling import TILE_PX, TOKENS_PER_SIDE, Grid, RectPx, SizePx, TilePlan, square_token_ranges

_MAX_REGIONS_PER_SIDE = 8
"""Of a single view: more could not be told apart with a finger."""


@dataclass(frozen=True, slots=True)
class PlanCells:
    """A grid of equal cells over a plan's token map, row-major from 0.

    A cell's tokens stand in ``side_tokens`` runs of ``side_tokens``; ``row_tokens`` lie between the starts of two runs, and the
    first cell begins at token ``first_token`` of the image.
    """

    grid: Grid
    side_px: float
    """Side of a cell in the pixels that the model gets."""
    side_tokens: int
    row_tokens: int
    first_token: int

    @property
    def num_cells(self) -> int:
        return self.grid.rows * self.grid.cols

    @property
    def size_px(self) -> SizePx:
        """All cells together: what is cut, padding included."""
        return SizePx(round(self.grid.rows * self.side_px), round(self.grid.cols * self.side_px))

    def place(self, cell: int) -> tuple[int, int]:
        """Row and column. Raises IndexError."""
        if not 0 <= cell < self.num_cells:
            raise IndexError(f"cell {cell} is outside 0 to {self.num_cells - 1}")
        return divmod(cell, self.grid.cols)

    def token_ranges(self, cell: int) -> tuple[range, ...]:
        """Index ranges of one cell's tokens, one per token row. Raises IndexError."""
        row, col = self.place(cell)
        first = self.first_token + row * self.side_tokens * self.row_tokens + col * self.side_tokens
        return square_token_ranges(first, self.side_tokens, self.row_tokens)


def plan_cells(plan: ImagePlan) -> PlanCells:
    """The cells of ``plan``."""
    if isinstance(plan, SingleViewPlan):
        side = plan.tokens_per_side
        regions = max(n for n in range(1, _MAX_REGIONS_PER_SIDE + 1) if side % n == 0)
        return PlanCells(Grid(regions, regions), plan.view_px / regions, side // regions, side, 0)
    if isinstance(plan, DualPerspectivePlan):
        blocks, side = plan.grid.cols, plan.tokens_per_side
        return PlanCells(plan.grid, plan.input_px / blocks, side // blocks, side, 0)
    return PlanCells(plan.grid, TILE_PX, TOKENS_PER_SIDE, plan.local_row_tokens, plan.local_start)


def cell_rect(plan: ImagePlan, cell: int) -> RectPx:
    """The part of the original image in one cell, as the plan has it; empty where it holds padding only. Raises IndexError."""
    if isinstance(plan, TilePlan):
        return plan.tile_rect(cell)
    cells = plan_cells(plan)
    if isinstance(plan, DualPerspectivePlan):
        return plan.block_rect(*cells.place(cell))
    runs = cells.token_ranges(cell)
    first, last = plan.token_rect(runs[0][0]), plan.token_rect(runs[-1][-1])
    return RectPx(first.left, first.top, last.right, last.bottom)
