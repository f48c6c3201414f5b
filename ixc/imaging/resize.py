"""A plan carried out on pixels: resize, pad with white, cut into tiles. Bit-exact with the reference.

The global view is not made here: the model makes it on its device from the padded image (bicubic, after normalisation).
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from ixc.tiling import TILE_PX, SizePx, TilePlan

PADDING_VALUE = 255


def resize_and_pad(pixels_HWC: np.ndarray, plan: TilePlan) -> np.ndarray:
    """The padded image of ``plan``: uint8 (rows*336, cols*336, 3), writable, from uint8 RGB of ``plan.original_px``.

    Pillow's antialiased bilinear filter, then white padding, centred. Raises ValueError when pixels and plan do not fit.
    """
    padded_HWC, inner_HWC = padded_canvas(pixels_HWC, plan)
    inner_HWC[:] = _resize(pixels_HWC, plan.resized_px)
    return padded_HWC


def padded_canvas(pixels_HWC: np.ndarray, plan: TilePlan) -> tuple[np.ndarray, np.ndarray]:
    """A white canvas of ``plan.padded_px``, uint8 RGB, and the view of it where the resized picture belongs.

    Raises ValueError when ``pixels_HWC`` is not uint8 RGB of ``plan.original_px``.
    """
    _require_fit(pixels_HWC, plan.original_px)
    padded_px, pad, resized_px = plan.padded_px, plan.padding_px, plan.resized_px
    padded_HWC = np.full((padded_px.height, padded_px.width, 3), PADDING_VALUE, dtype=np.uint8)
    return padded_HWC, padded_HWC[pad.top : pad.top + resized_px.height, pad.left : pad.left + resized_px.width]


def cut_tiles(padded_HWC: np.ndarray, plan: TilePlan) -> np.ndarray:
    """The tiles of a padded image: contiguous uint8 tiles_NCHW of shape (num_tiles, 3, 336, 336), row-major.

    Raises ValueError when the image does not have ``plan.padded_px``.
    """
    _require_fit(padded_HWC, plan.padded_px)
    rows, cols = plan.grid.rows, plan.grid.cols
    tiles_NCHW = np.empty((rows * cols, 3, TILE_PX, TILE_PX), np.uint8)
    for number, tile_CHW in enumerate(tiles_NCHW):
        top, left = number // cols * TILE_PX, number % cols * TILE_PX
        cv2.split(padded_HWC[top : top + TILE_PX, left : left + TILE_PX], list(tile_CHW))  # a third of NumPy's time
    return tiles_NCHW


def squash(pixels_HWC: np.ndarray, side_px: int) -> np.ndarray:
    """uint8 RGB resized to ``side_px`` x ``side_px`` with Pillow's antialiased bicubic filter, the aspect ratio not kept.

    Columns are filtered first in a portrait image, rows first in others: so did Pillow 13, which made the reference data.
    Older versions always begin with the rows, which in one-pixel stripes differs by up to 19 of 255. Raises ValueError for
    anything but uint8 RGB.
    """
    _require_fit(pixels_HWC, SizePx(*pixels_HWC.shape[:2]))
    height, width, _ = pixels_HWC.shape
    between = (width, side_px) if width < height else (side_px, height)
    image = Image.fromarray(pixels_HWC).resize(between, Image.Resampling.BICUBIC)
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.BICUBIC))


def _resize(pixels_HWC: np.ndarray, size_px: SizePx) -> np.ndarray:
    is_portrait = pixels_HWC.shape[1] < pixels_HWC.shape[0]
    image = Image.fromarray(pixels_HWC)
    if is_portrait:
        # The reference transposes a portrait image before resizing and back after. It matters: Pillow filters rows before
        # columns and rounds to whole numbers in between, so the two orders differ in the last bit.
        image = image.transpose(Image.Transpose.TRANSPOSE)
        image = image.resize((size_px.height, size_px.width), Image.Resampling.BILINEAR)
        return np.asarray(image).transpose(1, 0, 2)
    return np.asarray(image.resize((size_px.width, size_px.height), Image.Resampling.BILINEAR))


def _require_fit(pixels_HWC: np.ndarray, size_px: SizePx) -> None:
    expected = (size_px.height, size_px.width, 3)
    if pixels_HWC.dtype != np.uint8 or pixels_HWC.shape != expected:
        raise ValueError(f"expected uint8 pixels of shape {expected}, got {pixels_HWC.dtype} {pixels_HWC.shape}")
