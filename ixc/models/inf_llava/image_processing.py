"""Images to the padded square, by the plan. Everything after it happens on the model's device (see ``vision.make_views``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

from ixc.dual_perspective import NUM_VISUAL_TOKENS, PADDING_RGB, DualPerspectivePlan, plan_dual_perspective
from ixc.tiling import SizePx


class InfLlavaImageProcessor(BaseImageProcessor):
    """Pads an RGB image to a square and resizes that (Pillow bicubic) to 336 or 1008 pixels, by the budget.

    ``max_patches`` is the default budget: 9 loads 1008 pixels, as the model was trained; below that it is 336, as the released
    inference code has it (reference/inf_llava/README.md, "Image path").
    """

    model_input_names = ("tiles",)

    def __init__(self, max_patches: int = 9, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.max_patches = max_patches

    def plan(self, size_px: SizePx, max_patches: int | None = None) -> DualPerspectivePlan:
        """How an image of this size is looked at. Raises ValueError for a budget below 1."""
        return plan_dual_perspective(size_px, self.max_patches if max_patches is None else max_patches)

    def num_visual_tokens(self, _grid: object = None) -> int:
        """The same for every image."""
        return NUM_VISUAL_TOKENS

    def cut(self, pixels_HWC: np.ndarray, plan: DualPerspectivePlan) -> np.ndarray:
        """uint8 RGB [H, W, 3] -> the plan's square, uint8 [1, 3, side, side]. Raises ValueError when they do not fit."""
        if pixels_HWC.dtype != np.uint8 or pixels_HWC.shape != (plan.original_px.height, plan.original_px.width, 3):
            raise ValueError(f"the plan is for {plan.original_px}, not uint8 RGB of {pixels_HWC.dtype} {pixels_HWC.shape}")
        square = Image.fromarray(pad_to_square(pixels_HWC, plan))
        resized = square.resize((plan.input_px, plan.input_px), Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))[None]

    def preprocess(
        self, images: Sequence[np.ndarray] | np.ndarray, *_args: object, max_patches: int | None = None, **_kwargs: object
    ) -> BatchFeature:
        """RGB arrays [H, W, 3] uint8 -> ``tiles`` uint8 [images, 3, side, side]. Raises ValueError for anything else."""
        arrays = [np.asarray(images)] if getattr(images, "ndim", None) == 3 else [np.asarray(image) for image in images]
        squares = [self.cut(array, self.plan(SizePx(*array.shape[:2]), max_patches)) for array in arrays]
        return BatchFeature({"tiles": torch.from_numpy(np.concatenate(squares))})


def pad_to_square(pixels_HWC: np.ndarray, plan: DualPerspectivePlan) -> np.ndarray:
    """The image centred on a square of CLIP's mean colour, [side, side, 3] with the longer side of the image."""
    side, pad = plan.square_original_px, plan.padding_original_px
    square_HWC = np.empty((side, side, 3), dtype=np.uint8)
    square_HWC[:] = PADDING_RGB
    height, width, _ = pixels_HWC.shape
    square_HWC[pad.top : pad.top + height, pad.left : pad.left + width] = pixels_HWC
    return square_HWC
