"""Images to the padded square, by the plan. Everything after it happens on the model's device (see ``vision.make_views``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

from ixc.dual_perspective import NUM_VISUAL_TOKENS, PADDING_RGB, DualPerspectivePlan, plan_dual_perspective
from ixc.tiling import SizePx

_BAND_PIXELS = 4_000_000
"""Of the padded square, that are in the making at a time."""


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
        # The whole square of an image of 20000 x 1 pixels would take gigabytes. Pillow filters and rounds along the rows first,
        # so that they may be done in parts; rows of padding remain what they are.
        side, top, side_px = plan.square_original_px, plan.padding_original_px.top, plan.input_px
        narrow_HWC = np.empty((side, side_px, 3), np.uint8)
        narrow_HWC[:] = PADDING_RGB
        step = max(1, _BAND_PIXELS // side)
        for start in range(top, top + plan.original_px.height, step):
            rows = range(start, min(start + step, top + plan.original_px.height))
            band = Image.fromarray(pad_to_square(pixels_HWC, plan, rows))
            narrow_HWC[rows.start : rows.stop] = band.resize((side_px, len(rows)), Image.Resampling.BICUBIC)
        resized = Image.fromarray(narrow_HWC).resize((side_px, side_px), Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))[None]

    def preprocess(
        self, images: Sequence[np.ndarray] | np.ndarray, *_args: object, max_patches: int | None = None, **_kwargs: object
    ) -> BatchFeature:
        """RGB arrays [H, W, 3] uint8 -> ``tiles`` uint8 [images, 3, side, side]. Raises ValueError for anything else."""
        arrays = [np.asarray(images)] if getattr(images, "ndim", None) == 3 else [np.asarray(image) for image in images]
        squares = [self.cut(array, self.plan(SizePx(*array.shape[:2]), max_patches)) for array in arrays]
        return BatchFeature({"tiles": torch.from_numpy(np.concatenate(squares))})


def pad_to_square(pixels_HWC: np.ndarray, plan: DualPerspectivePlan, rows: range | None = None) -> np.ndarray:
    """The image centred on a square of CLIP's mean colour, whose side is the image's longer one.

    ``rows`` are those of the square that are wanted, all by default: uint8 [rows, side, 3].
    """
    side, pad = plan.square_original_px, plan.padding_original_px
    rows = range(side) if rows is None else rows
    padded_HWC = np.empty((len(rows), side, 3), dtype=np.uint8)
    padded_HWC[:] = PADDING_RGB
    height, width, _ = pixels_HWC.shape
    start, stop = max(rows.start, pad.top), min(rows.stop, pad.top + height)
    if start < stop:
        padded_HWC[start - rows.start : stop - rows.start, pad.left : pad.left + width] = pixels_HWC[
            start - pad.top : stop - pad.top
        ]
    return padded_HWC
