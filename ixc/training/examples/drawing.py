"""A small drawing kit over Pillow: fonts by role, text that wraps, shapes with smooth edges, gradients.

Boxes are (left, top, right, bottom) and points (x, y), Pillow's own order, because everything here is handed to Pillow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from ixc.errors import IxcError

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Font = ImageFont.FreeTypeFont

FONT_FOLDER = Path("/usr/share/fonts/truetype")
FONT_FILES = {
    "sans": "liberation/LiberationSans-Regular.ttf",
    "sans-bold": "liberation/LiberationSans-Bold.ttf",
    "sans-italic": "liberation/LiberationSans-Italic.ttf",
    "narrow": "liberation/LiberationSansNarrow-Regular.ttf",
    "narrow-bold": "liberation/LiberationSansNarrow-Bold.ttf",
    "serif": "liberation/LiberationSerif-Regular.ttf",
    "serif-bold": "liberation/LiberationSerif-Bold.ttf",
    "serif-italic": "liberation/LiberationSerif-Italic.ttf",
    "mono": "dejavu/DejaVuSansMono.ttf",
    "mono-bold": "dejavu/DejaVuSansMono-Bold.ttf",
    "sign": "dejavu/DejaVuSans-Bold.ttf",
    "sign-serif": "dejavu/DejaVuSerif-Bold.ttf",
}
SMOOTHING = 4
"""Shapes are drawn this many times larger and averaged down: Pillow's own shapes have hard edges."""


class FontsMissing(IxcError):
    """A font that the examples are drawn with is not installed."""


@functools.cache
def font(role: str, size_px: int) -> Font:
    """The font of a role of ``FONT_FILES``. Raises FontsMissing."""
    try:
        # Basic layout: the other engine depends on libraries of the machine, and so would the pixels.
        return ImageFont.truetype(FONT_FOLDER / FONT_FILES[role], size_px, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        raise FontsMissing("Install the Debian packages fonts-dejavu-core and fonts-liberation to draw the examples.") from None


def wrap(text: str, face: Font, width_px: float) -> list[str]:
    """``text`` broken into lines of at most ``width_px``, at spaces; a longer word stays whole."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width_px:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line] if line else lines


def gradient(width: int, height: int, stops: Sequence[tuple[float, str]]) -> Image.Image:
    """A vertical gradient through (place 0 to 1, colour) stops."""
    places = [place for place, _ in stops]
    colours = np.array([ImageColor.getrgb(colour) for _, colour in stops], dtype=np.float64)
    column = np.stack([np.interp(np.linspace(0, 1, height), places, colours[:, c]) for c in range(3)], axis=1)
    # A fixed 2x2 pattern of less than one grey level breaks up the bands that rounding would leave.
    pattern = np.tile([[0.1, 0.6], [0.85, 0.35]], (-(-height // 2), -(-width // 2)))[:height, :width]
    return Image.fromarray((column[:, None, :] + pattern[:, :, None]).clip(0, 255).astype(np.uint8))


class Canvas:
    """An RGB image that is drawn on."""

    def __init__(self, width: int, height: int, colour: str = "#ffffff") -> None:
        self.image = Image.new("RGB", (width, height), colour)
        self._draw = ImageDraw.Draw(self.image)

    @classmethod
    def over(cls, image: Image.Image) -> Canvas:
        """A canvas that goes on drawing on ``image``."""
        canvas = cls.__new__(cls)
        canvas.image, canvas._draw = image, ImageDraw.Draw(image)
        return canvas

    # --- text -----------------------------------------------------------------------------------------------------

    def text(self, at: Point, text: str, face: Font, colour: str, anchor: str = "la") -> None:
        """One line of text; ``anchor`` as in Pillow ("ls": left end of the baseline, "mm": middle ...)."""
        self._draw.text(at, text, font=face, fill=colour, anchor=anchor)

    def spaced(self, at: Point, text: str, face: Font, colour: str, gap_px: float) -> float:
        """Letters with extra space between them, from the left end of the baseline. Returns the right end."""
        x, y = at
        for letter in text:
            self._draw.text((x, y), letter, font=face, fill=colour, anchor="ls")
            x += face.getlength(letter) + gap_px
        return x - gap_px

    def paragraph(self, box: Box, text: str, face: Font, colour: str, *, leading: float = 1.35, justify: bool = False) -> float:
        """Wrapped text from the top of ``box`` (its bottom is ignored). Returns where the next line would start."""
        left, top, right, _ = box
        lines = wrap(text, face, right - left)
        for index, line in enumerate(lines):
            if justify and index < len(lines) - 1:
                self._justified(left, right, top, line, face, colour)
            else:
                self.text((left, top), line, face, colour)
            top += face.size * leading
        return top

    def _justified(self, left: float, right: float, top: float, line: str, face: Font, colour: str) -> None:
        words = line.split(" ")
        free = right - left - sum(face.getlength(word) for word in words)
        gap = free / max(len(words) - 1, 1)
        for word in words:
            self.text((left, top), word, face, colour)
            left += face.getlength(word) + gap

    # --- shapes ---------------------------------------------------------------------------------------------------

    def fill(self, box: Box, colour: str) -> None:
        """A rectangle with its edges on whole pixels, right and bottom exclusive."""
        left, top, right, bottom = (round(side) for side in box)
        self._draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)

    def rule(self, start: Point, end: Point, colour: str, width: int = 1) -> None:
        """A straight horizontal or vertical line with hard edges."""
        self._draw.line((*start, *end), fill=colour, width=width)

    def rounded(self, box: Box, radius: float, colour: str) -> None:
        self._smooth(box, colour, lambda d, at: d.rounded_rectangle((*at(box[:2]), *at(box[2:])), radius * SMOOTHING, fill=255))

    def ellipse(self, box: Box, colour: str) -> None:
        self._smooth(box, colour, lambda d, at: d.ellipse((*at(box[:2]), *at(box[2:])), fill=255))

    def disc(self, centre: Point, radius: float, colour: str) -> None:
        x, y = centre
        self.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    def polygon(self, points: Sequence[Point], colour: str) -> None:
        self._smooth(_bounds(points), colour, lambda d, at: d.polygon([at(point) for point in points], fill=255))

    def path(self, points: Sequence[Point], colour: str, width: float) -> None:
        """A line through ``points`` with smooth edges and round joints."""
        pen = round(width * SMOOTHING)

        def paint(draw: ImageDraw.ImageDraw, at: Callable[[Point], Point]) -> None:
            placed = [at(point) for point in points]
            draw.line(placed, fill=255, width=pen, joint="curve")
            for x, y in (placed[0], placed[-1]):
                draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)

        left, top, right, bottom = _bounds(points)
        self._smooth((left - width, top - width, right + width, bottom + width), colour, paint)

    def _smooth(self, box: Box, colour: str, paint: Callable[[ImageDraw.ImageDraw, Callable[[Point], Point]], None]) -> None:
        """Fill with ``colour`` what ``paint`` draws in white on a mask; ``at`` turns canvas points into mask points."""
        left, top = int(box[0]) - 2, int(box[1]) - 2
        width, height = int(box[2]) + 3 - left, int(box[3]) + 3 - top
        mask = Image.new("L", (width * SMOOTHING, height * SMOOTHING))
        paint(ImageDraw.Draw(mask), lambda point: ((point[0] - left) * SMOOTHING, (point[1] - top) * SMOOTHING))
        self.image.paste(ImageColor.getrgb(colour), (left, top), mask.reduce(SMOOTHING))


def _bounds(points: Sequence[Point]) -> Box:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)
