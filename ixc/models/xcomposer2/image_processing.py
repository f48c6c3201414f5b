"""Images to uint8 tiles, by the plan. Normalisation happens on the model's device (see ``vision.make_views``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

from ixc.imaging.resize import cut_tiles, resize_and_pad
from ixc.tiling import SizePx, TilePlan, plan_tiles


class XComposer2ImageProcessor(BaseImageProcessor):
    """Plans, resizes, pads and cuts RGB images. ``max_patches`` is the default budget (the reference's ``hd_num``)."""

    model_input_names = ("tiles", "image_grids")

    def __init__(self, max_patches: int = 25, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.max_patches = max_patches

    def plan(self, pixels_HWC: np.ndarray, max_patches: int | None = None) -> TilePlan:
        height, width = pixels_HWC.shape[:2]
        return plan_tiles(SizePx(height, width), max_patches or self.max_patches)

    def preprocess(
        self, images: Sequence[np.ndarray] | np.ndarray, max_patches: int | None = None, **_: object
    ) -> BatchFeature:
        """RGB arrays [H, W, 3] uint8 -> ``tiles`` and ``image_grids``.

        ``tiles`` is uint8 [sum of tiles, 3, 336, 336], ``image_grids`` [images, 2] holds (rows, cols).
        Raises ValueError for anything but RGB uint8 arrays.
        """
        arrays = [np.asarray(images)] if getattr(images, "ndim", None) == 3 else [np.asarray(image) for image in images]
        for array in arrays:
            if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
                raise ValueError(f"images must be RGB arrays [H, W, 3] of uint8, not {array.shape} of {array.dtype}")
        plans = [self.plan(array, max_patches) for array in arrays]
        tiles = [cut_tiles(resize_and_pad(array, plan), plan) for array, plan in zip(arrays, plans, strict=True)]
        return BatchFeature(
            {
                "tiles": torch.from_numpy(np.concatenate(tiles)),
                "image_grids": torch.tensor([[plan.grid.rows, plan.grid.cols] for plan in plans]),
            }
        )
