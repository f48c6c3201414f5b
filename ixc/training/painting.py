"""A laid-out document becomes pixels."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFilter, ImageOps

from ixc.training.layout import Document, Figure, Finish

_TURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""How the pixels of a file with this EXIF orientation are stored, from upright ones."""


def paint(document: Document) -> np.ndarray:
    """The document upright, as RGB uint8 [H, W, 3]; what JPEG loses is lost."""
    image = _render(document)
    if document.finish.jpeg_quality is not None:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(_jpeg(document.finish, image))))
    return np.asarray(image.convert("RGB"))


def paint_file(document: Document) -> bytes:
    """The document as a file somebody may have of it: a PNG, or a JPEG that may be stored turned, with its EXIF orientation."""
    image = _render(document)
    if document.finish.jpeg_quality is not None:
        return _jpeg(document.finish, image)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _render(document: Document) -> Image.Image:
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
    return _blemish(document.finish, image)


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
    elif figure.form == "segment":
        draw.line(figure.box, fill=figure.colour, width=max(1, round(figure.width_px)))
    elif figure.form == "slice":
        draw.pieslice(figure.box, *figure.degrees, fill=figure.colour)
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


def _blemish(finish: Finish, image: Image.Image) -> Image.Image:
    """Blur, gradient and noise."""
    if finish.blur_px:
        image = image.filter(ImageFilter.GaussianBlur(finish.blur_px))
    if not (finish.gradient or finish.noise):
        return image
    rng = np.random.default_rng(finish.seed)
    pixels = np.asarray(image).astype(np.float32)
    if finish.gradient:
        ramp = np.linspace(-finish.gradient, finish.gradient, image.width if rng.random() < 0.5 else image.height)
        pixels += ramp[None, :, None] if ramp.size == image.width else ramp[:, None, None]
    if finish.noise:
        pixels += finish.noise * rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _jpeg(finish: Finish, image: Image.Image) -> bytes:
    exif = Image.Exif()
    if finish.orientation in _TURNED:
        image = image.transpose(_TURNED[finish.orientation])
        exif[ExifTags.Base.Orientation] = finish.orientation
    file = io.BytesIO()
    image.save(file, "JPEG", quality=finish.jpeg_quality, exif=exif)
    return file.getvalue()
