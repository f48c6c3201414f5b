"""How each kind of model cuts an image, and what its user may choose about it. Known before any weights are loaded.

Everything that shows or prices a plan asks the chosen model's ``ImageLayout`` for it. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from ixc.dual_perspective import VIEW_PX, plan_dual_perspective
from ixc.single_view import ImagePlan, SingleViewPlan
from ixc.tiling import TILE_PX, SizePx, TilePlan, plan_tiles


class LayoutKind(StrEnum):
    """The ways in which the project's models look at an image."""

    DYNAMIC_PARTITION = "dynamic_partition"
    """As many tiles as a budget allows, and a global view: InternLM-XComposer2-4KHD."""
    SINGLE_VIEW = "single_view"
    """The whole image squashed into one square: InternLM-XComposer2-VL."""
    DUAL_PERSPECTIVE = "dual_perspective"
    """A padded square cut into blocks and into strided sub-images: INF-LLaVA."""


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """One model's way, as its checkpoint has it. Raises ValueError for a view that holds no whole patches."""

    kind: LayoutKind = LayoutKind.DYNAMIC_PARTITION
    view_px: int = TILE_PX
    """Side of one view."""

    def __post_init__(self) -> None:
        self.plan(SizePx(1, 1), 1)

    def plan(self, size_px: SizePx, max_patches: int) -> ImagePlan:
        """How an image of this size is looked at. Raises ValueError for a budget below 1."""
        if self.kind is LayoutKind.SINGLE_VIEW:
            return SingleViewPlan(size_px, self.view_px)
        if self.kind is LayoutKind.DUAL_PERSPECTIVE:
            return plan_dual_perspective(size_px, max_patches)
        return plan_tiles(size_px, max_patches)

    def least_budget(self, size_px: SizePx, max_patches: int) -> int:
        """The smallest budget that cuts an image of this size as ``max_patches`` does. Raises ValueError for one below 1."""
        return _least_budget(self, size_px, max_patches)


@lru_cache(maxsize=4096)
def _least_budget(layout: ImageLayout, size_px: SizePx, max_patches: int) -> int:
    cut = _cut(layout.plan(size_px, max_patches))
    while max_patches > 1 and _cut(layout.plan(size_px, max_patches - 1)) == cut:
        max_patches -= 1
    return max_patches


def _cut(plan: ImagePlan) -> ImagePlan:
    """``plan`` without the budget that it was asked for."""
    return replace(plan, max_patches=1) if isinstance(plan, TilePlan) else plan


DYNAMIC_PARTITION = ImageLayout()
DUAL_PERSPECTIVE = ImageLayout(LayoutKind.DUAL_PERSPECTIVE, VIEW_PX)


def layout_of_config(config: Mapping[str, Any]) -> ImageLayout:
    """From a checkpoint's config.json: a LLaVA is INF-LLaVA here, ``img_size`` means one view, and the rest cuts tiles."""
    if "llava" in str(config.get("model_type", "")):
        return DUAL_PERSPECTIVE
    view_px = config.get("img_size")
    if isinstance(view_px, int):
        try:
            return ImageLayout(LayoutKind.SINGLE_VIEW, view_px)
        except ValueError:
            pass  # loading it will say what is wrong with it
    return DYNAMIC_PARTITION
