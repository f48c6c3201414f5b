"""The scaled-down picture that the page shows. Made once per image; slider moves never send it again."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ixc.imaging.decode import DecodedImage

PREVIEW_TYPE = "image/webp"
MAX_PREVIEW_PX = 1600
"""Longer side of the picture in the page."""
MAX_PREVIEW_SHORT_PX = 700
"""A very long image keeps at least this width where it has it, so that zooming in shows something."""
MAX_THUMBNAIL_PX = 160


def encode_preview(image: DecodedImage) -> bytes:
    """``image`` as a small WebP. For the eye only: the model never sees it."""
    height, width, _ = image.pixels_HWC.shape
    long_px, short_px = max(height, width), min(height, width)
    scale = min(1.0, max(MAX_PREVIEW_PX / long_px, min(MAX_PREVIEW_SHORT_PX / short_px, 2.5 * MAX_PREVIEW_PX / long_px)))
    return _encode(image, scale, quality=82)


def encode_thumbnail(image: DecodedImage) -> bytes:
    """The picture for the strip of examples, cropped to 4:3 from the top left, where documents have their heading."""
    height, width, _ = image.pixels_HWC.shape
    crop_height, crop_width = min(height, width * 3 // 4), min(width, height * 4 // 3)
    cropped = DecodedImage.from_pixels(image.pixels_HWC[: max(crop_height, 1), : max(crop_width, 1)])
    return _encode(cropped, min(1.0, MAX_THUMBNAIL_PX / max(crop_width, 1)), quality=78)


def _encode(image: DecodedImage, scale: float, quality: int) -> bytes:
    pixels = image.pixels_HWC
    height, width, _ = pixels.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(_nearer(pixels, size))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()


def _nearer(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [height, width, 3], by areas at most twice ``size`` (width, height): Pillow would copy a large picture whole."""
    height, width, _ = pixels.shape
    near = (min(2 * size[0], width), min(2 * size[1], height))
    if near == (width, height):
        return pixels
    import cv2  # only here: whoever shows no picture must not wait for OpenCV

    return cv2.resize(pixels, near, interpolation=cv2.INTER_AREA)
