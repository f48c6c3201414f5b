"""Every Pillow pixel mode to 8-bit RGB, transparency composited over white."""

from __future__ import annotations

import numpy as np
from PIL import Image

WHITE = (255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
    """``image`` (loaded) as mode "RGB".

    16-bit grey is scaled, not clipped. 32-bit integers and floats have no agreed white point: they are stretched from their
    smallest value to their largest.
    """
    if image.mode.startswith("I;16"):
        image = _scale_grey16(image)
    elif image.mode in ("I", "F"):
        image = _stretch(image)
    if image.has_transparency_data:
        return _over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # premultiplied grey converts to its plain form only
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, WHITE)
    canvas.paste(rgba, mask=rgba)
    return canvas


def _scale_grey16(image: Image.Image) -> Image.Image:
    """0..65535 to 0..255, rounded. A PNG's transparent grey becomes an alpha channel."""
    values_HW = np.asarray(image).astype(np.uint16)  # also brings big-endian data to native order
    grey_HW = ((values_HW.astype(np.uint32) + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return Image.fromarray(grey_HW)
    alpha_HW = np.where(values_HW == transparent, 0, 255).astype(np.uint8)
    return Image.merge("LA", (Image.fromarray(grey_HW), Image.fromarray(alpha_HW)))


def _stretch(image: Image.Image) -> Image.Image:
    values_HW = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values_HW.min()), float(values_HW.max())
    if low == high:
        grey_HW = np.full(values_HW.shape, np.clip(low, 0, 255))
    else:
        # Divided before subtracting: the full range of doubles must not overflow.
        grey_HW = (values_HW / 2 - low / 2) / (high / 2 - low / 2) * 255
    return Image.fromarray(np.rint(grey_HW).astype(np.uint8))
