"""Every Pillow pixel mode to 8-bit RGB, transparency composited over white."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

WHITE = (255, 255, 255)
_BAND_PIXELS = 250_000


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
    transparent = image.info.get("transparency")
    grey_HW = np.empty((image.height, image.width), np.uint8)
    alpha_HW = np.empty_like(grey_HW) if isinstance(transparent, int) else None
    for rows, band_HW in _bands(image):
        values_HW = band_HW.astype(np.uint16)  # also brings big-endian data to native order
        grey_HW[rows] = (values_HW.astype(np.uint32) + 128) // 257
        if alpha_HW is not None:
            alpha_HW[rows] = np.where(values_HW == transparent, 0, 255)
    if alpha_HW is None:
        return Image.fromarray(grey_HW)
    return Image.merge("LA", (Image.fromarray(grey_HW), Image.fromarray(alpha_HW)))


def _stretch(image: Image.Image) -> Image.Image:
    extremes = [(float(values_HW.min()), float(values_HW.max())) for _, values_HW in _finite_bands(image)]
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    grey_HW = np.empty((image.height, image.width), np.uint8)
    if low == high:
        grey_HW[:] = np.rint(np.clip(low, 0, 255))
        return Image.fromarray(grey_HW)
    for rows, values_HW in _finite_bands(image):
        # Divided before subtracting: the full range of doubles must not overflow.
        grey_HW[rows] = np.rint((values_HW / 2 - low / 2) / (high / 2 - low / 2) * 255)
    return Image.fromarray(grey_HW)


def _finite_bands(image: Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """``_bands`` as float64, with 0 for what is not a finite number."""
    for rows, band_HW in _bands(image):
        yield rows, np.nan_to_num(band_HW.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _bands(image: Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows of ``image`` at a time, as the array has them: arithmetic takes up to 26 bytes for each of its pixels."""
    step = max(1, _BAND_PIXELS // max(1, image.width))
    for top in range(0, image.height, step):
        stop = min(top + step, image.height)
        yield slice(top, stop), np.asarray(image.crop((0, top, image.width, stop)))
