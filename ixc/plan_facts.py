"""A tile plan as plain data for ``ixc plan --json`` and the API. Standard library only."""

from __future__ import annotations

from ixc.dual_perspective import DualPerspectivePlan
from ixc.image_layout import LayoutKind
from ixc.single_view import ImagePlan, SingleViewPlan
from ixc.tiling import MAX_SLIDER_PATCHES, TILE_PX, TOKENS_PER_SIDE, RectPx, SizePx, TilePlan, is_shrunk_at, suggest_max_patches


def plan_facts(plan: ImagePlan, *, max_patches_limit: int = MAX_SLIDER_PATCHES) -> dict[str, object]:
    """Everything about ``plan`` as dicts, lists, numbers and booleans, ready for JSON.

    "layout" says which kind of plan it is. Sizes are {"height", "width"} in pixels. Tiles, rows, columns and tokens count from
    0; tokens count from the image's first visual token. ``max_patches_limit`` bounds the suggested budget; "suggested_shrinks"
    says whether the image is shrunk even there.
    """
    if isinstance(plan, SingleViewPlan):
        return _single_view_facts(plan)
    if isinstance(plan, DualPerspectivePlan):
        return _dual_perspective_facts(plan)
    suggested = suggest_max_patches(plan.original_px, max_patches_limit)
    return {
        "layout": str(LayoutKind.DYNAMIC_PARTITION),
        "original_px": _size(plan.original_px),
        "resized_px": _size(plan.resized_px),
        "padded_px": _size(plan.padded_px),
        "padding_px": {side: getattr(plan.padding_px, side) for side in ("left", "top", "right", "bottom")},
        "tile_px": TILE_PX,
        "grid": {"rows": plan.grid.rows, "cols": plan.grid.cols},
        "num_tiles": plan.num_tiles,
        "max_patches": plan.max_patches,
        "suggested_max_patches": suggested,
        "suggested_shrinks": is_shrunk_at(plan.original_px, suggested),
        "num_views": plan.num_views,
        "num_visual_tokens": plan.num_visual_tokens,
        "num_newline_tokens": sum(1 for _ in plan.newline_indices()),
        "separator_token": plan.separator_index,
        "scale_factor": round(plan.scale_factor, 6),
        "padding_share": round(plan.padding_share, 6),
        "is_clamped": plan.is_clamped,
        "tiles": [tile_facts(plan, tile) for tile in range(plan.num_tiles)],
    }


def tile_facts(plan: TilePlan, tile: int) -> dict[str, object]:
    """One tile: its place, its pixels in the original (None when it holds padding only) and its tokens.

    A tile's 144 tokens stand in ``num_runs`` runs of ``run_tokens``, one in each of its token rows; ``run_stride`` lies between
    the starts of two runs. Raises IndexError for a tile outside the plan.
    """
    ranges = plan.tile_token_ranges(tile)
    row, col = divmod(tile, plan.grid.cols)
    return {
        "tile": tile,
        "row": row,
        "col": col,
        "original_rect": _rect(plan.tile_rect(tile)),
        "tokens": {
            "first": ranges[0][0],
            "last": ranges[-1][-1],
            "num_runs": len(ranges),
            "run_tokens": TOKENS_PER_SIDE,
            "run_stride": plan.local_row_tokens,
        },
    }


def _single_view_facts(plan: SingleViewPlan) -> dict[str, object]:
    scale_x, scale_y = plan.view_px / plan.original_px.width, plan.view_px / plan.original_px.height
    return {
        "layout": str(LayoutKind.SINGLE_VIEW),
        "original_px": _size(plan.original_px),
        "resized_px": _size(plan.resized_px),
        "view_px": plan.view_px,
        "num_views": plan.num_views,
        "num_visual_tokens": plan.num_visual_tokens,
        "tokens_per_side": plan.tokens_per_side,
        "scale_factor_x": round(scale_x, 6),
        "scale_factor_y": round(scale_y, 6),
        "padding_share": 0.0,
    }


def _dual_perspective_facts(plan: DualPerspectivePlan) -> dict[str, object]:
    return {
        "layout": str(LayoutKind.DUAL_PERSPECTIVE),
        "original_px": _size(plan.original_px),
        "resized_px": _size(plan.resized_px),
        "padded_px": _size(plan.padded_px),
        "padding_px": {side: getattr(plan.padding_px, side) for side in ("left", "top", "right", "bottom")},
        "input_px": plan.input_px,
        "max_patches": plan.max_patches,
        "num_views": plan.num_views,
        "num_visual_tokens": plan.num_visual_tokens,
        "tokens_per_side": plan.tokens_per_side,
        "scale_factor": round(plan.scale_factor, 6),
        "padding_share": round(plan.padding_share, 6),
        "blocks": [
            {"row": row, "col": col, "original_rect": _rect(plan.block_rect(row, col))}
            for row in range(plan.grid.rows)
            for col in range(plan.grid.cols)
        ],
    }


def _size(size_px: SizePx) -> dict[str, int]:
    return {"height": size_px.height, "width": size_px.width}


def _rect(rect: RectPx) -> dict[str, float] | None:
    if rect.is_empty:
        return None
    return {side: round(getattr(rect, side), 2) for side in ("left", "top", "right", "bottom")}
