"""What of a detail a model gets: a rectangle of the original, resampled exactly as the plan resamples the whole image."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ixc.single_view import ImagePlan
from ixc.tiling import RectPx, TilePlan

_MAX_SHOWN_PX = 640
"""Wider details gain nothing on a screen: a model that enlarges the image shows the same blur in more pixels."""


@dataclass(frozen=True, slots=True)
class SeenDetail:
    """The model's own pixels for a detail, uint8 RGB, and the rectangle of the original that they cover.

    They cover a little more than was asked for, because whole pixels are shown.
    """

    pixels_HWC: np.ndarray  # noqa: N815
    rect: RectPx


def seen_detail(pixels_HWC: np.ndarray, plan: ImagePlan, rect: RectPx) -> SeenDetail:
    """The part of the plan's resized image that shows ``rect`` (original pixels), without resizing the rest.

    A crop of the resized image, up to one step of 255. Raises ValueError for an empty rectangle or one outside the image.
    """
    size, resized = plan.original_px, plan.resized_px
    if rect.is_empty or rect.left < 0 or rect.top < 0 or rect.right > size.width or rect.bottom > size.height:
        raise ValueError(f"{rect} is no part of an image of {size.width}x{size.height} (width x height)")
    x_scale, y_scale = resized.width / size.width, resized.height / size.height
    left, right = _whole_pixels(rect.left * x_scale, rect.right * x_scale, resized.width)
    top, bottom = _whole_pixels(rect.top * y_scale, rect.bottom * y_scale, resized.height)
    covered = RectPx(left / x_scale, top / y_scale, min(right / x_scale, size.width), min(bottom / y_scale, size.height))
    # In the order in which the whole image is resized: the shorter side last. It matters, see ``resize.py``.
    kernel = Image.Resampling.BILINEAR if isinstance(plan, TilePlan) else Image.Resampling.BICUBIC
    if size.width < size.height:
        turned = RectPx(covered.top, covered.left, covered.bottom, covered.right)
        seen_WHC = _resample(pixels_HWC.transpose(1, 0, 2), turned, (right - left, bottom - top), kernel)
        return SeenDetail(np.ascontiguousarray(seen_WHC.transpose(1, 0, 2)), covered)
    return SeenDetail(_resample(pixels_HWC, covered, (bottom - top, right - left), kernel), covered)


def detail_png(pixels_HWC: np.ndarray) -> bytes:
    """uint8 RGB as PNG, unchanged but for very wide ones, of which every n-th pixel is taken."""
    step = math.ceil(pixels_HWC.shape[1] / _MAX_SHOWN_PX)
    shown_HWC = pixels_HWC[step // 2 :: step, step // 2 :: step] if step < min(pixels_HWC.shape[:2]) else pixels_HWC
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(shown_HWC)).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _resample(pixels_HWC: np.ndarray, box: RectPx, size: tuple[int, int], kernel: Image.Resampling) -> np.ndarray:
    """``box`` of the pixels at ``size`` (height, width): along the rows first, then along the columns, as Pillow does."""
    height, width = size
    # Rows around the box that the second pass looks at: its kernel reaches over at most two of its own pixels.
    margin = math.ceil(2 * max(1.0, (box.bottom - box.top) / height)) + 1
    first, last = max(math.floor(box.top) - margin, 0), min(math.ceil(box.bottom) + margin, len(pixels_HWC))
    rows = Image.fromarray(np.ascontiguousarray(pixels_HWC[first:last]))
    rows = rows.resize((width, last - first), kernel, box=(box.left, 0, box.right, last - first))
    return np.asarray(rows.resize((width, height), kernel, box=(0, box.top - first, width, box.bottom - first)))


def _whole_pixels(start: float, stop: float, limit: int) -> tuple[int, int]:
    """The pixels that [start, stop) touches, at least one."""
    first = min(math.floor(start + 1e-6), limit - 1)
    return first, min(max(math.ceil(stop - 1e-6), first + 1), limit)
