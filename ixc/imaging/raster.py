"""A plan drawn into the picture's pixels with OpenCV: ``ixc plan --png``."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from ixc.imaging.drawing import (
    ACCENT,
    BADGE,
    LAYERS,
    NEWLINE,
    PADDING_FILL,
    PADDING_HATCH,
    PlanDrawing,
    check_layers,
    check_pixels,
    draw_plan,
)
from ixc.single_view import ImagePlan
from ixc.tiling import RectPx

MIN_PNG_SIDE_PX, MAX_PNG_SIDE_PX = 1200, 2000
"""Bounds of the longer side: a plan of one tile is enlarged, or its labels could not be read."""
_FONT = cv2.FONT_HERSHEY_DUPLEX
_FONT_HEIGHT_AT_1 = 21
"""Height of this font's digits in pixels at scale 1."""


def plan_png(pixels_HWC: np.ndarray, plan: ImagePlan, *, layers: Iterable[str] = LAYERS) -> bytes:
    """The original picture with the plan drawn over it, padding included, as PNG, its longer side 1200 to 2000 px.

    ``pixels_HWC`` is uint8 RGB of ``plan.original_px``. Raises ValueError when it is not, or for an unknown layer.
    """
    chosen = check_layers(layers)
    check_pixels(pixels_HWC, plan)
    drawing = draw_plan(plan)
    canvas = _Canvas(drawing, pixels_HWC)
    for layer in LAYERS:
        if layer in chosen:
            getattr(canvas, f"draw_{layer}")()
    return canvas.encode()


class _Canvas:
    """Pixels in OpenCV's BGR order at ``scale`` times the drawing's size."""

    def __init__(self, drawing: PlanDrawing, pixels_HWC: np.ndarray) -> None:
        size = drawing.size_px
        self.drawing = drawing
        longest = max(size.height, size.width)
        self.scale = min(max(longest, MIN_PNG_SIDE_PX), MAX_PNG_SIDE_PX) / longest
        self.image_HWC = np.full((round(size.height * self.scale), round(size.width * self.scale), 3), 255, np.uint8)
        inner_HWC = self._part(drawing.picture)
        height, width, _ = inner_HWC.shape
        shrinks = pixels_HWC.shape[0] > height or pixels_HWC.shape[1] > width
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        inner_HWC[:] = cv2.resize(pixels_HWC, (width, height), interpolation=interpolation)[:, :, ::-1]

    def draw_padding(self) -> None:
        step, line = max(4, round(7 * self._pixel)), max(1, round(2 * self._pixel))
        for rect in self.drawing.padding:
            part_HWC = self._part(rect)
            height, width, _ = part_HWC.shape
            is_line_HW = (np.arange(height)[:, None] + np.arange(width)) % step < line
            part_HWC[:] = np.where(is_line_HW[:, :, None], _bgr(PADDING_HATCH), _bgr(PADDING_FILL))

    def draw_tiles(self) -> None:
        height, width, _ = self.image_HWC.shape
        thickness = max(1, round(self._pixel))
        for x in {edge for tile in self.drawing.tiles for edge in (tile.left, tile.right)}:
            left = min(max(round(x * self.scale - thickness / 2), 0), width - thickness)
            self.image_HWC[:, left : left + thickness] = _bgr(ACCENT)
        for y in {edge for tile in self.drawing.tiles for edge in (tile.top, tile.bottom)}:
            top = min(max(round(y * self.scale - thickness / 2), 0), height - thickness)
            self.image_HWC[top : top + thickness] = _bgr(ACCENT)

    def draw_numbers(self) -> None:
        font_scale = 0.75 * self.drawing.em * self.scale / _FONT_HEIGHT_AT_1
        for badge in self.drawing.numbers:
            x0, y0, x1, y1 = self._box(badge.box)
            self._draw_box(badge.box)
            (width, height), _ = cv2.getTextSize(badge.text, _FONT, font_scale, 1)
            origin = ((x0 + x1 - width) // 2, (y0 + y1 + height) // 2)
            cv2.putText(self.image_HWC, badge.text, origin, _FONT, font_scale, _bgr(ACCENT), 1, cv2.LINE_AA)

    def draw_newlines(self) -> None:
        for box, arrow in zip(self.drawing.newline_boxes, self.drawing.newline_arrows, strict=True):
            self._draw_box(box)
            points = np.rint(np.array(arrow) * self.scale).astype(np.int32)
            thickness = max(1, round(0.14 * self.drawing.em * self.scale))
            cv2.polylines(self.image_HWC, [points], False, _bgr(NEWLINE), thickness, cv2.LINE_AA)

    def encode(self) -> bytes:
        _, png = cv2.imencode(".png", self.image_HWC, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        return png.tobytes()

    @property
    def _pixel(self) -> float:
        """Image pixels per pixel of the intended display."""
        return self.drawing.unit * self.scale

    def _draw_box(self, box: RectPx) -> None:
        x0, y0, x1, y1 = self._box(box)
        cv2.rectangle(self.image_HWC, (x0, y0), (x1, y1), _bgr(BADGE), cv2.FILLED)

    def _box(self, rect: RectPx) -> tuple[int, int, int, int]:
        return tuple(round(edge * self.scale) for edge in (rect.left, rect.top, rect.right, rect.bottom))

    def _part(self, rect: RectPx) -> np.ndarray:
        """The view of the pixels under ``rect``, at least one pixel each way."""
        x0, y0, x1, y1 = self._box(rect)
        height, width, _ = self.image_HWC.shape
        x0, y0 = min(x0, width - 1), min(y0, height - 1)
        return self.image_HWC[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _bgr(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return blue, green, red
