"""Images to uint8 tiles, by the plan. Normalisation happens on the model's device (see ``vision.make_views``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

from ixc.imaging.resize import cut_tiles, resize_and_pad, squash
from ixc.models.xcomposer2.fast_resize import resize_and_pad_fast
from ixc.single_view import ImagePlan, SingleViewPlan
from ixc.tiling import Grid, SizePx, num_visual_tokens, plan_tiles


class XComposer2ImageProcessor(BaseImageProcessor):
    """Plans, resizes, pads and cuts RGB images.

    ``max_patches`` is the default budget (the reference's ``hd_num``). With ``img_size`` there are no tiles: the image is
    squashed into one view of that side.
    """

    model_input_names = ("tiles", "image_grids")
    is_exact = True
    """Tiles are resized by Pillow and equal the reference's; False: by ``fast_resize``, at most 1 of 255 away. A choice of who
    runs the model, not of the checkpoint."""

    def __init__(self, max_patches: int = 25, img_size: int | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.max_patches = max_patches
        self.img_size = img_size

    def to_dict(self) -> dict[str, object]:
        """What is saved with a checkpoint."""
        return {name: value for name, value in super().to_dict().items() if name != "is_exact"}

    def plan(self, size_px: SizePx, max_patches: int | None = None) -> ImagePlan:
        """How an image of this size is looked at. Raises ValueError for a budget below 1."""
        if self.img_size is not None:
            return SingleViewPlan(size_px, self.img_size)
        return plan_tiles(size_px, self.max_patches if max_patches is None else max_patches)

    def num_visual_tokens(self, grid: Grid) -> int:
        """Tokens of an image that was cut into ``grid``."""
        if self.img_size is not None:
            return SingleViewPlan(SizePx(1, 1), self.img_size).num_visual_tokens
        return num_visual_tokens(grid)

    def cut(self, pixels_HWC: np.ndarray, plan: ImagePlan) -> np.ndarray:
        """uint8 RGB [H, W, 3] -> the plan's tiles, uint8 [num_tiles, 3, side, side]. Raises ValueError when they do not fit."""
        if isinstance(plan, SingleViewPlan):
            return np.ascontiguousarray(squash(pixels_HWC, plan.view_px).transpose(2, 0, 1))[None]
        resize = resize_and_pad if self.is_exact else resize_and_pad_fast
        return cut_tiles(resize(pixels_HWC, plan), plan)

    def preprocess(
        self, images: Sequence[np.ndarray] | np.ndarray, *_args: object, max_patches: int | None = None, **_kwargs: object
    ) -> BatchFeature:
        """RGB arrays [H, W, 3] uint8 -> ``tiles`` and ``image_grids``.

        ``tiles`` is uint8 [sum of tiles, 3, 336, 336], ``image_grids`` [images, 2] holds (rows, cols).
        Raises ValueError for anything but RGB uint8 arrays.
        """
        arrays = [np.asarray(images)] if getattr(images, "ndim", None) == 3 else [np.asarray(image) for image in images]
        for array in arrays:
            if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
                raise ValueError(f"images must be RGB arrays [H, W, 3] of uint8, not {array.shape} of {array.dtype}")
        plans = [self.plan(SizePx(*array.shape[:2]), max_patches) for array in arrays]
        tiles = [self.cut(array, plan) for array, plan in zip(arrays, plans, strict=True)]
        return BatchFeature(
            {
                "tiles": torch.from_numpy(np.concatenate(tiles)),
                "image_grids": torch.tensor([[plan.grid.rows, plan.grid.cols] for plan in plans]),
            }
        )
