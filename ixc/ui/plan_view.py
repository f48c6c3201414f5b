"""A plan as the page shows it: numbers and two small drawings, never the picture."""

from __future__ import annotations

import math
from typing import Any

from ixc.chat.interface import ChatEngine, PromptPreview
from ixc.dual_perspective import DualPerspectivePlan
from ixc.image_layout import LayoutKind
from ixc.imaging.overlay import plan_svg
from ixc.imaging.ribbon import ribbon_svg
from ixc.plan_cells import cell_rect, plan_cells
from ixc.single_view import ImagePlan, SingleViewPlan
from ixc.tiling import RectPx, SizePx, TilePlan, is_shrunk_at, plan_tiles, scaling, suggest_max_patches

_DRAWN_LAYERS = ("padding", "tiles")
"""The page writes numbers and newline marks itself, so that they keep their size on screen however far one zooms in."""


_KEY_LENGTH = 16


def page_key(image_id: str) -> str:
    """What the page calls an image."""
    return image_id[:_KEY_LENGTH]


def plan_page_value(
    plan: ImagePlan, image_id: str, limit: int, prompt: PromptPreview, engine: ChatEngine | None
) -> dict[str, Any]:
    """Everything that changes when the slider moves, another model is chosen or the conversation goes on.

    ``limit`` bounds the suggested budget. ``prompt`` is what stands around the image; nothing while no model is there to count.
    """
    return {
        "imageId": page_key(image_id),
        "plan": plan_numbers(plan, limit),
        "tiles": cell_numbers(plan),
        "overlay": plan_svg(plan, layers=_DRAWN_LAYERS),
        "ribbon": ribbon_svg(plan, prompt.num_before, prompt.num_after),
        "text": {"before": prompt.num_before, "after": prompt.num_after, "turns": prompt.num_turns},
        "room": room_numbers(plan, prompt, engine),
        "cost": cost_numbers(plan, prompt, engine),
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
        "scaling": str(scaling(plan.scale_factor)),
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
    """The budget worth choosing, its visual tokens, and whether even that one shrinks the image; None without tiles."""
    if not isinstance(plan, TilePlan):
        return {"suggested": None}
    suggested = suggest_max_patches(plan.original_px, limit)
    chosen = plan_tiles(plan.original_px, suggested)
    shrinks = is_shrunk_at(plan.original_px, suggested)
    return {"suggested": suggested, "suggestedTokens": chosen.num_visual_tokens, "suggestedShrinks": shrinks}


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
    """For each cell: left, top, right, bottom in the original image, then its first and last visual token.

    The corners are whole pixels, outwards: a cell that holds any part of a pixel is not empty.
    """
    cells, numbers = plan_cells(plan), []
    for cell in range(cells.num_cells):
        rect, ranges = cell_rect(plan, cell), cells.token_ranges(cell)
        corners = [0, 0, 0, 0] if rect.is_empty else _outwards(rect)
        numbers.append([*corners, ranges[0].start, ranges[-1].stop - 1])
    return numbers


def _outwards(rect: RectPx) -> list[int]:
    left, top, right, bottom = (round(side, 6) for side in (rect.left, rect.top, rect.right, rect.bottom))
    return [math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)]


def room_numbers(plan: ImagePlan, prompt: PromptPreview, engine: ChatEngine | None) -> dict[str, Any] | None:
    """Tokens of the whole prompt but for the question's words, and how many the model takes (None: not known)."""
    if engine is None:
        return None
    return {"tokens": prompt.num_before + plan.num_visual_tokens + prompt.num_after, "max": engine.info.max_context_tokens}


def cost_numbers(plan: ImagePlan, prompt: PromptPreview, engine: ChatEngine | None) -> dict[str, Any] | None:
    """Memory and time to first token expected with the loaded model, and whether it has read the image; None without one."""
    estimate = prompt.cost
    if estimate is None or engine is None:
        return None
    return {
        "bytes": estimate.memory_bytes,
        "ttftMs": estimate.time_to_first_token_ms,
        "device": engine.device_name,
        "isRead": estimate.num_read_tokens >= prompt.num_before + plan.num_visual_tokens,
    }


def _width_height(size_px: SizePx) -> list[int]:
    return [size_px.width, size_px.height]
