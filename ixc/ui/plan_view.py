"""A tile plan as the page shows it: numbers and two small drawings, never the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ixc.imaging.overlay import plan_svg
from ixc.imaging.ribbon import ribbon_svg
from ixc.tiling import TOKENS_PER_SIDE, SizePx, TilePlan, plan_tiles, suggest_max_patches

if TYPE_CHECKING:
    from ixc.chat.engine import Engine


_DRAWN_LAYERS = ("padding", "tiles")
"""The page writes numbers and newline marks itself, so that they keep their size on screen however far one zooms in."""


@dataclass(frozen=True, slots=True)
class TextAround:
    """Text tokens before and after the image in the prompt; zero while no model is there to count them."""

    num_before: int = 0
    num_after: int = 0


def plan_page_value(
    size_px: SizePx, image_id: str, max_patches: int, limit: int, text: TextAround, engine: Engine | None
) -> dict[str, Any]:
    """Everything that changes when the slider moves."""
    plan = plan_tiles(size_px, max_patches)
    return {
        "imageId": image_id[:16],
        "plan": plan_numbers(plan, limit),
        "tiles": tile_numbers(plan),
        "overlay": plan_svg(plan, layers=_DRAWN_LAYERS),
        "ribbon": ribbon_svg(plan, text.num_before, text.num_after),
        "text": {"before": text.num_before, "after": text.num_after},
        "cost": cost_numbers(plan, text, engine),
    }


def plan_numbers(plan: TilePlan, limit: int) -> dict[str, Any]:
    padding = plan.padding_px
    return {
        "budget": plan.max_patches,
        "suggested": suggest_max_patches(plan.original_px, limit),
        "cols": plan.grid.cols,
        "rows": plan.grid.rows,
        "used": plan.num_tiles,
        "original": _width_height(plan.original_px),
        "resized": _width_height(plan.resized_px),
        "padded": _width_height(plan.padded_px),
        "padding": [padding.left, padding.top, padding.right, padding.bottom],
        "scale": round(plan.scale_factor, 4),
        "paddingShare": round(plan.padding_share, 4),
        "tokens": plan.num_visual_tokens,
        "globalTokens": plan.separator_index,
        "localStart": plan.local_start,
        "localRows": plan.num_local_rows,
        "localRowTokens": plan.local_row_tokens,
        "tileSide": TOKENS_PER_SIDE,
        "clamped": plan.is_clamped,
    }


def tile_numbers(plan: TilePlan) -> list[list[int]]:
    """For each tile: left, top, right, bottom in the original image, then its first and last visual token."""
    tiles = []
    for tile in range(plan.num_tiles):
        rect, ranges = plan.tile_rect(tile), plan.tile_token_ranges(tile)
        corners = [round(rect.left), round(rect.top), round(rect.right), round(rect.bottom)]
        tiles.append([*corners, ranges[0].start, ranges[-1].stop - 1])
    return tiles


def cost_numbers(plan: TilePlan, text: TextAround, engine: Engine | None) -> dict[str, Any] | None:
    """Memory and time to first token expected with the loaded model; None without one."""
    if engine is None:
        return None
    estimate = engine.estimate(plan, text.num_before + text.num_after)
    return {"bytes": estimate.memory_bytes, "ttftMs": estimate.time_to_first_token_ms, "device": engine.device_name}


def _width_height(size_px: SizePx) -> list[int]:
    return [size_px.width, size_px.height]
