"""What of a detail a model gets: a rectangle of the original, resampled exactly as the plan resamples the whole image."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ixc.dual_perspective import PADDING_RGB, DualPerspectivePlan
from ixc.single_view import ImagePlan
from ixc.tiling import RectPx, SizePx, TilePlan

_MAX_SAMPLES = 512
"""Places along either side at which detail is looked for: a fixed effort, however large the image."""
_NEARLY = 0.9
"""Of places with nearly as much detail as the one with most, the one nearest the middle is taken: text often fills a page."""

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

    A crop of the resized image, up to one step of 255 for each axis: Pillow rounds after each, and halves may fall otherwise.
    Raises ValueError for an empty rectangle or one outside the image.
    """
    size = plan.original_px
    if rect.is_empty or rect.left < 0 or rect.top < 0 or rect.right > size.width or rect.bottom > size.height:
        raise ValueError(f"{rect} is no part of an image of {size.width}x{size.height} (width x height)")
    if isinstance(plan, DualPerspectivePlan):
        # Padded first, then resized: its pixels may lie across the image's edge.
        pad, side = plan.padding_original_px, plan.square_original_px
        source = _Source(pixels_HWC, SizePx(side, side), pad.left, pad.top)
        return _seen(source, plan.padded_px, rect, Image.Resampling.BICUBIC)
    kernel = Image.Resampling.BILINEAR if isinstance(plan, TilePlan) else Image.Resampling.BICUBIC
    if size.width < size.height:
        # In the order in which the whole image is resized: the shorter side last. It matters, see ``resize.py``.
        source = _Source(pixels_HWC.transpose(1, 0, 2), SizePx(size.width, size.height))
        seen = _seen(source, SizePx(plan.resized_px.width, plan.resized_px.height), _turned(rect), kernel)
        return SeenDetail(np.ascontiguousarray(seen.pixels_HWC.transpose(1, 0, 2)), _turned(seen.rect))
    return _seen(_Source(pixels_HWC, size), plan.resized_px, rect, kernel)


@dataclass(frozen=True, slots=True)
class _Source:
    """What is resized: the original, or the original at (left, top) on a larger ground of CLIP's mean colour."""

    pixels_HWC: np.ndarray  # noqa: N815
    size_px: SizePx
    left: int = 0
    top: int = 0

    def crop(self, left: int, top: int, right: int, bottom: int) -> Image.Image:
        """A part of it, whose sides lie within ``size_px``."""
        height, width, _ = self.pixels_HWC.shape
        x0, x1 = (min(max(x - self.left, 0), width) for x in (left, right))
        y0, y1 = (min(max(y - self.top, 0), height) for y in (top, bottom))
        part_HWC = np.empty((bottom - top, right - left, 3), np.uint8)
        part_HWC[:] = PADDING_RGB
        row, col = y0 + self.top - top, x0 + self.left - left
        part_HWC[row : row + y1 - y0, col : col + x1 - x0] = self.pixels_HWC[y0:y1, x0:x1]
        return Image.fromarray(part_HWC)


def _seen(source: _Source, target_px: SizePx, rect: RectPx, kernel: Image.Resampling) -> SeenDetail:
    """``rect`` of the original in whole pixels of ``source`` resized to ``target_px``: along the rows first, as Pillow does."""
    size = source.size_px
    x_step, y_step = size.width / target_px.width, size.height / target_px.height
    left, right = _whole_pixels((rect.left + source.left) / x_step, (rect.right + source.left) / x_step, target_px.width)
    top, bottom = _whole_pixels((rect.top + source.top) / y_step, (rect.bottom + source.top) / y_step, target_px.height)
    box = RectPx(left * x_step, top * y_step, min(right * x_step, size.width), min(bottom * y_step, size.height))
    # The kernel reaches over at most two of its own pixels.
    x_margin, y_margin = math.ceil(2 * max(1.0, x_step)) + 1, math.ceil(2 * max(1.0, y_step)) + 1
    x0, x1 = max(math.floor(box.left) - x_margin, 0), min(math.ceil(box.right) + x_margin, size.width)
    y0, y1 = max(math.floor(box.top) - y_margin, 0), min(math.ceil(box.bottom) + y_margin, size.height)
    part = source.crop(x0, y0, x1, y1)
    rows = part.resize((right - left, y1 - y0), kernel, box=(box.left - x0, 0, box.right - x0, y1 - y0))
    seen = rows.resize((right - left, bottom - top), kernel, box=(0, box.top - y0, right - left, box.bottom - y0))
    covered = RectPx(box.left - source.left, box.top - source.top, box.right - source.left, box.bottom - source.top)
    return SeenDetail(np.asarray(seen), covered)


def most_detailed(pixels_HWC: np.ndarray, window_px: SizePx) -> tuple[float, float]:
    """Where a window of this size shows most detail of uint8 RGB pixels: its centre as (x, y), each a share of the image.

    Detail is the sum of steps between neighbouring pixels, at up to 512 x 512 places. (0.5, 0.5) for an image without any.
    """
    height, width, _ = pixels_HWC.shape
    y_step, x_step = math.ceil(height / _MAX_SAMPLES), math.ceil(width / _MAX_SAMPLES)
    steps = _pixel_steps(pixels_HWC, y_step, x_step)
    if not steps.any():
        return 0.5, 0.5
    rows = min(max(round(window_px.height / y_step), 1), steps.shape[0])
    cols = min(max(round(window_px.width / x_step), 1), steps.shape[1])
    sums = np.pad(steps.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    found = sums[rows:, cols:] - sums[rows:, :-cols] - sums[:-rows, cols:] + sums[:-rows, :-cols]
    middle = (np.array(found.shape) - 1) / 2
    top, left = _nearest(found >= _NEARLY * found.max(), middle)
    # And from there to all of it: the middle of the windows around that show most.
    top, left = max(top - rows, 0), max(left - cols, 0)
    around = found[top : top + 2 * rows + 1, left : left + 2 * cols + 1]
    is_best = around == around.max()
    row, col = _nearest(is_best, np.argwhere(is_best).mean(axis=0))
    return (left + col + cols / 2) * x_step / width, (top + row + rows / 2) * y_step / height


def _pixel_steps(pixels_HWC: np.ndarray, y_step: int, x_step: int) -> np.ndarray:
    """At every ``y_step``-th row and ``x_step``-th column how far the next pixels, right and below, are from this one."""
    here_HWC = pixels_HWC[::y_step, ::x_step].astype(np.int16)
    steps = np.zeros(here_HWC.shape[:2], np.int64)
    for row, col in ((0, 1), (1, 0)):
        next_HWC = pixels_HWC[row::y_step, col::x_step].astype(np.int16)
        rows, cols, _ = next_HWC.shape  # at the right and lower edge there may be no next pixel
        steps[:rows, :cols] += np.abs(next_HWC - here_HWC[:rows, :cols]).sum(axis=2)
    return steps


def _nearest(is_there: np.ndarray, place: np.ndarray) -> tuple[int, int]:
    """The (row, column) of those that are there which is nearest to ``place``; the first of several."""
    places = np.argwhere(is_there)
    row, col = places[((places - place) ** 2).sum(axis=1).argmin()]
    return int(row), int(col)


def _turned(rect: RectPx) -> RectPx:
    return RectPx(rect.top, rect.left, rect.bottom, rect.right)


def detail_png(pixels_HWC: np.ndarray) -> bytes:
    """uint8 RGB as PNG, unchanged but for very wide ones, of which every n-th pixel is taken."""
    step = math.ceil(pixels_HWC.shape[1] / _MAX_SHOWN_PX)
    shown_HWC = pixels_HWC[step // 2 :: step, step // 2 :: step] if step < min(pixels_HWC.shape[:2]) else pixels_HWC
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(shown_HWC)).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _whole_pixels(start: float, stop: float, limit: int) -> tuple[int, int]:
    """The pixels that [start, stop) touches, at least one."""
    first = min(math.floor(start + 1e-6), limit - 1)
    return first, min(max(math.ceil(stop - 1e-6), first + 1), limit)
