"""A laid-out document becomes pixels."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ixc.training.layout import Document, Figure, Finish


def paint(document: Document) -> np.ndarray:
    """The document as RGB uint8 [H, W, 3]."""
    width, height = document.size_px.width, document.size_px.height
    image = Image.new("RGB", (width, height), document.background)
    draw = ImageDraw.Draw(image)
    for line in document.lines:
        if line.plate is not None:
            draw.rectangle(line.plate, fill=line.plate_colour)
    if document.frame_px:
        inset = document.frame_inset_px
        draw.rectangle(
            (inset, inset, width - 1 - inset, height - 1 - inset), outline=document.frame_colour, width=document.frame_px
        )
    for figure in document.figures:
        _draw(draw, figure)
    for line in document.lines:
        face = line.font.at(line.font_px)
        draw.text((line.left_px, line.baseline_px), line.text, fill=line.colour, font=face, anchor="ls")
    return _apply(document.finish, image)


def _draw(draw: ImageDraw.ImageDraw, figure: Figure) -> None:
    left, top, right, bottom = figure.box
    if figure.form == "circle":
        draw.ellipse(figure.box, fill=figure.colour)
    elif figure.form == "frame":
        draw.rectangle(figure.box, outline=figure.colour, width=max(1, round((bottom - top) / 40)))
    elif figure.form == "triangle":
        draw.polygon(((left, bottom), (right, bottom), ((left + right) / 2, top)), fill=figure.colour)
    elif figure.form == "star":
        draw.polygon(_star(*figure.box), fill=figure.colour)
    else:
        draw.rectangle(figure.box, fill=figure.colour)


def _star(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    """Ten corners of a five-pointed star that fills the box."""
    radius_x, radius_y = (right - left) / 2, (bottom - top) / 2
    corners = []
    for index in range(10):
        share, angle = (1.0, 0.4)[index % 2], math.pi * (index / 5 - 0.5)
        corners.append((left + radius_x * (1 + share * math.cos(angle)), top + radius_y * (1 + share * math.sin(angle))))
    return corners


def paint_squashed(document: Document, side_px: int) -> np.ndarray:
    """The document squashed to a square of ``side_px``, its aspect ratio not kept, as RGB uint8 [side, side, 3]."""
    image = Image.fromarray(paint(document))
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.BILINEAR))


def _apply(finish: Finish, image: Image.Image) -> np.ndarray:
    if finish.blur_px:
        image = image.filter(ImageFilter.GaussianBlur(finish.blur_px))
    if finish.gradient or finish.noise:
        rng = np.random.default_rng(finish.seed)
        pixels = np.asarray(image).astype(np.float32)
        if finish.gradient:
            ramp = np.linspace(-finish.gradient, finish.gradient, image.width if rng.random() < 0.5 else image.height)
            pixels += ramp[None, :, None] if ramp.size == image.width else ramp[:, None, None]
        if finish.noise:
            pixels += finish.noise * rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if finish.jpeg_quality is not None:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=finish.jpeg_quality)
        image = Image.open(buffer)
    return np.asarray(image.convert("RGB"))
