"""Where everything stands on a document before a pixel is painted: text, type, colours, and each character's box.

The boxes feed the auxiliary loss, and the language model's first lessons need nothing but them, so layout and painting are
apart. Everything is drawn from a ``numpy`` generator: the same seed gives the same document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ixc.tiling import SizePx
from ixc.training.cells import LEGIBLE_PX, Glyphs, classes_of, mark_class
from ixc.training.fonts import FontFile
from ixc.training.wording import Split, random_filler, random_text

Rgb = tuple[int, int, int]
ORIENTATIONS = (3, 6, 8)
"""EXIF orientations of a camera held upside down or upright."""
MIN_ADVANCE_PX = 14.0
"""Narrowest mean character of a sign, in pixels of the 336 px view that shows the whole image."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line: its text, type, colour, and where its baseline starts."""

    text: str
    font: FontFile
    font_px: int
    left_px: float
    baseline_px: float
    colour: Rgb
    plate: tuple[float, float, float, float] | None = None
    """A filled rectangle behind the line (left, top, right, bottom)."""
    plate_colour: Rgb = (255, 255, 255)

    def boxes(self) -> np.ndarray:
        """Boxes of the characters, float32 [len(text), 4]: left, top, right, bottom in document pixels.

        As wide as the ink (a space: as its advance), and all as high as the capitals: a line's characters then have their
        centres on one height, full stops and descenders too, and fall into one row of visual tokens.
        """
        boxes = np.empty((len(self.text), 4), np.float32)
        starts = self.font.starts_px(self.font_px, self.text)
        _, top, _, bottom = self.font.ink_px(self.font_px, "H")
        for index, char in enumerate(self.text):
            left, _, right, _ = self.font.ink_px(self.font_px, char)
            if char == " ":
                left, right = 0.0, starts[index + 1] - starts[index]
            boxes[index] = (left + starts[index], top, right + starts[index], bottom)
        boxes[:, 0::2] += self.left_px
        boxes[:, 1::2] += self.baseline_px
        return boxes

    def sizes_px(self) -> np.ndarray:
        """Mean advance and three quarters of the capitals' height, for every character the same: float32 [len(text), 2]."""
        _, top, _, bottom = self.font.ink_px(self.font_px, "H")
        advance = self.font.starts_px(self.font_px, self.text)[-1] / max(len(self.text), 1)
        # A line of narrow letters ("ill") is no smaller than another of the same type.
        advance = max(advance, 0.85 * _mean_advance(self.font, self.font_px))
        return np.tile(np.array([advance, 0.75 * (bottom - top)], np.float32), (len(self.text), 1))


def _height(figure: Figure) -> float:
    return figure.box[3] - figure.box[1]


@lru_cache(maxsize=4096)
def _mean_advance(font: FontFile, font_px: int) -> float:
    sample = "Total amount 1234.50"
    return font.starts_px(font_px, sample)[-1] / len(sample)


@dataclass(frozen=True, slots=True)
class Figure:
    """Something drawn that is no text: ``form`` is rectangle, frame (a rectangle's outline), one of ``MARK_FORMS``, segment (a
    line from the box's first corner to its second, ``width_px`` wide) or slice (of the ellipse in the box, between ``degrees``,
    clockwise from three o'clock).

    ``mark``: the colour's and form's names where questions may be about it.
    """

    form: str
    box: tuple[float, float, float, float]
    colour: Rgb
    mark: tuple[str, str] | None = None
    width_px: float = 1.0
    degrees: tuple[float, float] = (0.0, 360.0)


@dataclass(frozen=True, slots=True)
class Finish:
    """What happens to the painted document: gradient and noise in grey levels, blur radius in pixels, JPEG quality or None.

    ``orientation``: the EXIF tag of a JPEG that a turned camera took, one of ``ORIENTATIONS``; its pixels are stored turned.
    """

    gradient: float = 0.0
    noise: float = 0.0
    blur_px: float = 0.0
    jpeg_quality: int | None = None
    orientation: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A document ready to be painted. ``text`` is what it says; ``frame_px`` the width of the drawn border (0: none)."""

    size_px: SizePx
    background: Rgb
    lines: tuple[TextLine, ...]
    text: str
    frame_px: int = 0
    frame_colour: Rgb = (0, 0, 0)
    frame_inset_px: int = 0
    finish: Finish = Finish()
    figures: tuple[Figure, ...] = ()

    def characters(self) -> str:
        """All characters, in reading order."""
        return "".join(line.text for line in self.lines)

    def glyphs(self) -> Glyphs:
        """What stands where, in document pixels."""
        marks = [figure for figure in self.figures if figure.mark]
        boxes = [*(line.boxes() for line in self.lines), *(np.array([mark.box], np.float32) for mark in marks)]
        sizes = [
            *(line.sizes_px() for line in self.lines),
            *(np.full((1, 2), 0.5 * _height(mark), np.float32) for mark in marks),
        ]
        return Glyphs(
            np.concatenate((classes_of(self.characters()), np.array([mark_class(*each.mark) for each in marks], np.int64))),
            np.concatenate([*boxes, np.empty((0, 4), np.float32)]),
            np.concatenate([*sizes, np.empty((0, 2))]).astype(np.float32),
        )


def lay_out_sign(rng: np.random.Generator, fonts: Sequence[FontFile], split: Split) -> Document:
    """A sign or label with one line of text; big enough to be read when the whole image fills one 336 px view."""
    text = random_text(rng, split)
    font, font_px = fonts[rng.integers(len(fonts))], font_size_step(_log_uniform(rng, 18, 110))
    width = max(font.starts_px(font_px, text)[-1], 8.0)
    ink = [font.ink_px(font_px, char) for char in text]
    top, bottom = min(box[1] for box in ink), max(box[3] for box in ink)
    height = bottom - top
    share = rng.uniform(0.6, 0.96)
    doc_w = max(width / share, width + 6)
    doc_h = max(doc_w / _log_uniform(rng, 1, 6), height * rng.uniform(1.15, 1.8) + 4)
    # A tall image leaves the line less of the view: keep its characters readable.
    doc_h = min(doc_h, max(doc_w * 336 * share / (len(text) * MIN_ADVANCE_PX), doc_w, height + 6))
    size_px = SizePx(round(doc_h), round(doc_w))
    free_x, free_y = size_px.width - width, size_px.height - height
    left = free_x * (0.5 if rng.random() < 0.6 else rng.uniform(0.15, 0.85))
    upper = free_y * (0.5 if rng.random() < 0.6 else rng.uniform(0.15, 0.85))
    background, colour = _colours(rng)
    plate, plate_colour = None, background
    if rng.random() < 0.25:
        plate_colour, background = background, _near_colour(rng, background)
        grow_x, grow_y = min(left, free_x - left) * rng.uniform(0.3, 0.95), min(upper, free_y - upper) * rng.uniform(0.3, 0.95)
        plate = (left - grow_x, upper - grow_y, left + width + grow_x, upper + height + grow_y)
    frame_px, inset = 0, 0
    room = int(min(left, free_x - left, upper, free_y - upper))
    if rng.random() < 0.35 and room >= 4:
        frame_px = int(rng.integers(1, max(2, min(room // 2, max(2, font_px // 6)))))
        inset = int(rng.integers(0, max(1, room - frame_px - 1)))
    line = TextLine(text, font, font_px, left, upper - top, colour, plate, plate_colour)
    return Document(size_px, background, (line,), text, frame_px, colour, inset, finish_for(rng, font_px))


def lay_out_page(rng: np.random.Generator, fonts: Sequence[FontFile], advance_px: tuple[float, float]) -> Document:
    """A dense page that fills one view: many lines of mixed type, running over the edges.

    The page is squashed to 336x336 when painted, as the global view squashes a whole image; ``advance_px`` bounds the mean
    width of a character after that.
    """
    stretch = _log_uniform(rng, 1, 3) if rng.random() < 0.25 else _log_uniform(rng, 0.9, 1.15)
    is_tiny = advance_px[1] < LEGIBLE_PX
    zoom = _log_uniform(rng, 2, 4) if is_tiny else _log_uniform(rng, 0.7, 1.5)
    smallest_px = 5 if is_tiny else 12
    size_px = SizePx(max(96, round(336 * zoom / stretch**0.5)), max(96, round(336 * zoom * stretch**0.5)))
    background, colour = _colours(rng)
    lines: list[TextLine] = []
    down = -rng.uniform(0, 10)
    while down < size_px.height:
        font = fonts[rng.integers(len(fonts))]
        advance = _log_uniform(rng, *advance_px) * size_px.width / 336
        font_px = font_size_step(max(advance / 0.52, smallest_px * size_px.height / 336))
        for _ in range(rng.integers(1, 4)):
            left = rng.uniform(-1.5 * font_px, 0.15 * size_px.width)
            text = random_filler(rng, max(1, int(rng.uniform(0.6, 1.15) * (size_px.width - left) / (0.5 * font_px))))
            if text:
                lines.append(TextLine(text, font, font_px, left, down + 0.8 * font_px, colour))
            down += font_px * rng.uniform(1.0, 1.3)
        if rng.random() < 0.1:
            down += rng.uniform(0, 40)
        if rng.random() < 0.4:
            colour = _contrasting(rng, background)
    return Document(size_px, background, tuple(lines), "", finish=finish_for(rng, 14))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def font_size_step(size_px: float) -> int:
    """The nearest size of a ladder of about 12 %, between 9 and 160: few enough sizes for the fonts' measures to be cached."""
    return int(np.clip(round(1.12 ** round(np.log(size_px) / np.log(1.12))), 9, 160))


def _luminance(colour: Sequence[float]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _colours(rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    """Background and text colours that can be told apart."""
    style = rng.random()
    if style < 0.3:
        background = tuple(int(v) for v in rng.integers(225, 256, 3))
        return background, tuple(int(v) for v in rng.integers(0, 70, 3))
    if style < 0.4:
        background = tuple(int(v) for v in rng.integers(0, 50, 3))
        return background, tuple(int(v) for v in rng.integers(190, 256, 3))
    background = tuple(int(v) for v in rng.integers(0, 256, 3))
    return background, _contrasting(rng, background)


def _contrasting(rng: np.random.Generator, background: Rgb) -> Rgb:
    while True:
        colour = tuple(int(v) for v in (rng.integers(0, 256, 3) if rng.random() < 0.6 else rng.choice((0, 255)) * np.ones(3)))
        if abs(_luminance(colour) - _luminance(background)) > 90:
            return colour


def _near_colour(rng: np.random.Generator, colour: Rgb) -> Rgb:
    return tuple(int(v) for v in np.clip(np.array(colour) + rng.integers(-70, 71, 3), 0, 255))


def finish_for(rng: np.random.Generator, font_px: int) -> Finish:
    is_jpeg = bool(rng.random() < 0.3)
    return Finish(
        gradient=float(rng.uniform(0, 40)) if rng.random() < 0.2 else 0.0,
        noise=float(rng.uniform(1, 8)) if rng.random() < 0.2 else 0.0,
        blur_px=float(rng.uniform(0.3, 0.035 * font_px + 0.3)) if rng.random() < 0.15 else 0.0,
        jpeg_quality=int(rng.integers(35, 95)) if is_jpeg else None,
        orientation=int(rng.choice(ORIENTATIONS)) if is_jpeg and rng.random() < 0.3 else 1,
        seed=int(rng.integers(2**31)),
    )
