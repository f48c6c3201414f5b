"""A plan as the page shows it: numbers and two small drawings, never the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ixc.dual_perspective import DualPerspectivePlan
from ixc.image_layout import LayoutKind
from ixc.imaging.overlay import plan_svg
from ixc.imaging.ribbon import ribbon_svg
from ixc.plan_cells import cell_rect, plan_cells
from ixc.single_view import ImagePlan, SingleViewPlan
from ixc.tiling import SizePx, TilePlan, plan_tiles, suggest_max_patches

if TYPE_CHECKING:
    from ixc.chat.engine import Engine


_DRAWN_LAYERS = ("padding", "tiles")
"""The page writes numbers and newline marks itself, so that they keep their size on screen however far one zooms in."""


@dataclass(frozen=True, slots=True)
class TextAround:
    """Text tokens before and after the image in the prompt; zero while no model is there to count them."""

    num_before: int = 0
    num_after: int = 0


def plan_page_value(plan: ImagePlan, image_id: str, limit: int, text: TextAround, engine: Engine | None) -> dict[str, Any]:
    """Everything that changes when the slider moves or another model is chosen. ``limit`` bounds the suggested budget."""
    return {
        "imageId": image_id[:16],
        "plan": plan_numbers(plan, limit),
        "tiles": cell_numbers(plan),
        "overlay": plan_svg(plan, layers=_DRAWN_LAYERS),
        "ribbon": ribbon_svg(plan, text.num_before, text.num_after),
        "text": {"before": text.num_before, "after": text.num_after},
        "cost": cost_numbers(plan, text, engine),
    }


def plan_numbers(plan: ImagePlan, limit: int) -> dict[str, Any]:
    """``cols`` and ``rows`` are the cells': tiles, or the regions into which the page divides a single view."""
    cells, padding = plan_cells(plan), plan.padding_px
    scale_x, scale_y = plan.resized_px.width / plan.original_px.width, plan.resized_px.height / plan.original_px.height
    return {
        **plan_words(plan),
        **_suggestion(plan, limit),
        "cols": cells.grid.cols,
        "rows": cells.grid.rows,
        "used": plan.num_tiles,
        "original": _width_height(plan.original_px),
        "resized": _width_height(plan.resized_px),
        "padded": _width_height(plan.padded_px),
        "padding": [padding.left, padding.top, padding.right, padding.bottom],
        "scale": round(plan.scale_factor, 4),
        "scaleX": round(scale_x, 4),
        "scaleY": round(scale_y, 4),
        "paddingShare": round(plan.padding_share, 4),
        "tokens": plan.num_visual_tokens,
        "globalTokens": plan.separator_index if isinstance(plan, TilePlan) else 0,
        "localStart": cells.first_token,
        "localRows": cells.grid.rows * cells.side_tokens,
        "localRowTokens": cells.row_tokens,
        "tileSide": cells.side_tokens,
        "clamped": isinstance(plan, TilePlan) and plan.is_clamped,
    }


def _suggestion(plan: ImagePlan, limit: int) -> dict[str, Any]:
    """The budget worth choosing, and whether even that one shrinks the image; None where there are no tiles to choose."""
    if not isinstance(plan, TilePlan):
        return {"suggested": None}
    suggested = suggest_max_patches(plan.original_px, limit)
    return {"suggested": suggested, "suggestedShrinks": plan_tiles(plan.original_px, suggested).scale_factor < 1}


def plan_words(plan: ImagePlan) -> dict[str, Any]:
    """What the page needs to name a plan in a sentence."""
    kind, view_px = LayoutKind.DYNAMIC_PARTITION, 0
    if isinstance(plan, SingleViewPlan):
        kind, view_px = LayoutKind.SINGLE_VIEW, plan.view_px
    elif isinstance(plan, DualPerspectivePlan):
        kind, view_px = LayoutKind.DUAL_PERSPECTIVE, plan.input_px
    return {
        "kind": str(kind),
        "budget": plan.max_patches,
        "cols": plan.grid.cols,
        "rows": plan.grid.rows,
        "viewPx": view_px,
    }


def cell_numbers(plan: ImagePlan) -> list[list[int]]:
    """For each cell: left, top, right, bottom in the original image, then its first and last visual token."""
    cells, numbers = plan_cells(plan), []
    for cell in range(cells.num_cells):
        rect, ranges = cell_rect(plan, cell), cells.token_ranges(cell)
        corners = [round(rect.left), round(rect.top), round(rect.right), round(rect.bottom)]
        numbers.append([*corners, ranges[0].start, ranges[-1].stop - 1])
    return numbers


def cost_numbers(plan: ImagePlan, text: TextAround, engine: Engine | None) -> dict[str, Any] | None:
    """Memory and time to first token expected with the loaded model; None without one."""
    if engine is None:
        return None
    estimate = engine.estimate(plan, text.num_before + text.num_after)
    if estimate is None:
        return None
    return {"bytes": estimate.memory_bytes, "ttftMs": estimate.time_to_first_token_ms, "device": engine.device_name}


def _width_height(size_px: SizePx) -> list[int]:
    return [size_px.width, size_px.height]
