"""How INF-LLaVA looks at an image: one padded square, cut two ways (arXiv 2407.16198, dual-perspective cropping).

Source: reference/inf_llava/README.md, "Image path, as released" and "What the released n=3 setting really computes". It answers
the same questions as ``TilePlan``. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

from ixc.tiling import Grid, PaddingPx, RectPx, SizePx, whole_number

CUTS_PER_SIDE = 3
"""N: the square is cut into 3x3 blocks and into 3x3 strided sub-images."""
VIEW_PX = 336
"""Side of a view, what CLIP takes."""
SQUARE_PX = CUTS_PER_SIDE * VIEW_PX
"""Side of the square that is cut, 1008 pixels."""
PADDING_RGB = (122, 116, 104)
"""CLIP's mean colour; fills the square around the image."""
TOKENS_PER_SIDE = 24
NUM_VISUAL_TOKENS = TOKENS_PER_SIDE**2
INPUT_SIZES_PX = (VIEW_PX, SQUARE_PX)
"""The square's side as the released inference code loads it, and as the model was trained; a smaller one is enlarged."""


@dataclass(frozen=True, slots=True)
class DualPerspectivePlan:
    """The padded square of an image and its views. Raises ValueError for another input size than 336 or 1008.

    "Square pixels" count in the 1008-pixel square that is cut. With an input of 336 pixels the square is an enlargement: nine
    times the views, no more detail.
    """

    original_px: SizePx
    input_px: int = SQUARE_PX

    def __post_init__(self) -> None:
        if self.input_px not in INPUT_SIZES_PX:
            raise ValueError(f"the input side is {VIEW_PX} or {SQUARE_PX} pixels, not {self.input_px}")

    @property
    def max_patches(self) -> int:
        """The input size in the terms of a budget: how many views' worth of pixels are loaded, 1 or 9."""
        return (self.input_px // VIEW_PX) ** 2

    @property
    def grid(self) -> Grid:
        """The local blocks."""
        return Grid(CUTS_PER_SIDE, CUTS_PER_SIDE)

    @property
    def num_tiles(self) -> int:
        return CUTS_PER_SIDE**2

    @property
    def num_views(self) -> int:
        """Passes through the vision tower that the output needs: the local blocks and one view of the whole.

        The released code makes 19. Of its nine strided sub-images only the centre one, which equals that view, reaches the
        output, because the fused map is sampled at one point in nine.
        """
        return self.num_tiles + 1

    @property
    def num_visual_tokens(self) -> int:
        return NUM_VISUAL_TOKENS

    @property
    def tokens_per_side(self) -> int:
        return TOKENS_PER_SIDE

    # --- the square -----------------------------------------------------------------------------------------------

    @property
    def square_original_px(self) -> int:
        """Side of the padded square before it is resized, in the original's pixels."""
        return max(self.original_px.height, self.original_px.width)

    @property
    def padding_original_px(self) -> PaddingPx:
        """What is added around the original before resizing; an odd pixel goes to the right or the bottom."""
        side, size = self.square_original_px, self.original_px
        left, top = (side - size.width) // 2, (side - size.height) // 2
        return PaddingPx(left, top, side - size.width - left, side - size.height - top)

    @property
    def scale_factor(self) -> float:
        """Loaded pixels per original pixel."""
        return self.input_px / self.square_original_px

    @property
    def padded_px(self) -> SizePx:
        """The square as it is loaded."""
        return SizePx(self.input_px, self.input_px)

    @property
    def resized_px(self) -> SizePx:
        """The image inside the loaded square, rounded, at least one pixel a side."""
        scale = self.scale_factor
        return SizePx(max(1, round(self.original_px.height * scale)), max(1, round(self.original_px.width * scale)))

    @property
    def padding_px(self) -> PaddingPx:
        """The padding in the loaded square, rounded so that it fills what ``resized_px`` leaves."""
        resized, before = self.resized_px, self.padding_original_px
        left = min(round(before.left * self.scale_factor), self.input_px - resized.width)
        top = min(round(before.top * self.scale_factor), self.input_px - resized.height)
        return PaddingPx(left, top, self.input_px - resized.width - left, self.input_px - resized.height - top)

    @property
    def padding_share(self) -> float:
        """Share of the square that is padding, 0 to 1."""
        return 1 - min(self.original_px.height, self.original_px.width) / self.square_original_px

    # --- the blocks -----------------------------------------------------------------------------------------------

    def block_rect(self, row: int, col: int) -> RectPx:
        """A local block's part of the original; empty where it holds padding only. Raises IndexError."""
        _require_block(row, col)
        return self._original_rect(col * VIEW_PX, row * VIEW_PX, (col + 1) * VIEW_PX, (row + 1) * VIEW_PX)

    def _original_rect(self, left: float, top: float, right: float, bottom: float) -> RectPx:
        """Square pixels to the original's, cut to the image."""
        pad, size, step = self.padding_original_px, self.original_px, self.square_original_px / SQUARE_PX

        def across(x: float) -> float:
            return min(max(x * step - pad.left, 0.0), float(size.width))

        def down(y: float) -> float:
            return min(max(y * step - pad.top, 0.0), float(size.height))

        return RectPx(across(left), down(top), across(right), down(bottom))


def plan_dual_perspective(size_px: SizePx, max_patches: int) -> DualPerspectivePlan:
    """The plan at the largest input that a budget pays for: 1008 pixels from 9 patches on, else 336.

    Raises ValueError for a budget that is no whole number or is below 1.
    """
    max_patches = whole_number(max_patches, "the budget")
    if max_patches < 1:
        raise ValueError(f"the budget must be at least 1, not {max_patches}")
    return DualPerspectivePlan(size_px, SQUARE_PX if max_patches >= CUTS_PER_SIDE**2 else VIEW_PX)


def _require_block(row: int, col: int) -> None:
    if not (0 <= row < CUTS_PER_SIDE and 0 <= col < CUTS_PER_SIDE):
        raise IndexError(f"block ({row}, {col}) is outside a grid of {CUTS_PER_SIDE} x {CUTS_PER_SIDE}")
