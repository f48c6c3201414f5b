"""The plan of a model that looks once: the whole image squashed into one square view (InternLM-XComposer2-VL).

Source: reference/ixc2_vl/README.md, "Image". It answers the same questions as ``TilePlan`` for whoever needs no tiles. Standard
library only.
"""

from __future__ import annotations

from dataclasses import dataclass

from ixc.dual_perspective import DualPerspectivePlan
from ixc.tiling import Grid, PaddingPx, RectPx, SizePx, TilePlan

PATCH_PX = 14
"""Side of a ViT patch; without a merge each patch is one visual token."""


@dataclass(frozen=True, slots=True)
class SingleViewPlan:
    """One view of ``view_px`` x ``view_px``; the aspect ratio is not kept, nothing is padded, no newlines or separator.

    Raises ValueError unless whole patches fill the view.
    """

    original_px: SizePx
    view_px: int

    def __post_init__(self) -> None:
        if self.view_px < PATCH_PX or self.view_px % PATCH_PX:
            raise ValueError(f"a view of {self.view_px} pixels does not hold whole patches of {PATCH_PX}")

    @property
    def max_patches(self) -> int:
        return 1

    @property
    def grid(self) -> Grid:
        return Grid(1, 1)

    @property
    def num_tiles(self) -> int:
        return 1

    @property
    def num_views(self) -> int:
        return 1

    @property
    def resized_px(self) -> SizePx:
        return SizePx(self.view_px, self.view_px)

    @property
    def padded_px(self) -> SizePx:
        return self.resized_px

    @property
    def padding_px(self) -> PaddingPx:
        return PaddingPx(0, 0, 0, 0)

    @property
    def padding_share(self) -> float:
        return 0.0

    @property
    def tokens_per_side(self) -> int:
        return self.view_px // PATCH_PX

    @property
    def num_visual_tokens(self) -> int:
        return self.tokens_per_side**2

    @property
    def scale_factor(self) -> float:
        """Resized pixels per original pixel along the longer side; along the other side it differs."""
        return self.view_px / max(self.original_px.height, self.original_px.width)

    def token_rect(self, index: int) -> RectPx:
        """The original image's rectangle that token ``index`` (row-major) looks at. Raises IndexError."""
        if not 0 <= index < self.num_visual_tokens:
            raise IndexError(f"visual token {index} is outside 0 to {self.num_visual_tokens - 1}")
        row, col = divmod(index, self.tokens_per_side)
        step_y, step_x = self.original_px.height / self.tokens_per_side, self.original_px.width / self.tokens_per_side
        return RectPx(col * step_x, row * step_y, (col + 1) * step_x, (row + 1) * step_y)


ImagePlan = TilePlan | SingleViewPlan | DualPerspectivePlan
"""How a model looks at an image: what is common to all can be asked of any."""
