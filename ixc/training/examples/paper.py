"""A page of a paper, 2550x3300 (letter size at 300 dpi): two columns, a figure, a table, references."""

from __future__ import annotations

import math

from PIL import Image

from ixc.training.examples import paper_text as words
from ixc.training.examples.drawing import Canvas, font

INK = "#111111"
COLUMN_PX, LEFT_X, RIGHT_X = 1040, 200, 1310
BODY_PX, LEADING = 39, 1.24


def draw_paper() -> Image.Image:
    canvas = Canvas(2550, 3300)
    columns_top = _draw_head(canvas)
    y = _section(canvas, LEFT_X, columns_top, "1   Introduction", words.INTRODUCTION)
    y = _section(canvas, LEFT_X, y, "2   Method", words.METHOD)
    y = _equation(canvas, LEFT_X, y)
    y = _body(canvas, LEFT_X, y, words.METHOD_AFTER_EQUATION)
    y = _draw_figure(canvas, RIGHT_X, columns_top)
    y = _section(canvas, RIGHT_X, y, "3   Results", words.RESULTS)
    y = _draw_table(canvas, RIGHT_X, y)
    y = _section(canvas, RIGHT_X, y, "4   Limits", words.LIMITS)
    _draw_references(canvas, RIGHT_X, y)
    canvas.text((1275, 3226), "3", font("serif", 38), INK, anchor="mm")
    return canvas.image.convert("L")


def _draw_head(canvas: Canvas) -> float:
    canvas.text((200, 130), "Ellery Notes on Field Methods 7 (2026)", font("serif-italic", 34), INK)
    canvas.text((2350, 130), "doi 10.0000/enfm.7.3", font("serif", 34), INK, anchor="ra")
    canvas.rule((200, 180), (2350, 180), INK, 3)
    canvas.text((1275, 266), words.TITLE_LINES[0], font("serif-bold", 76), INK, anchor="mm")
    canvas.text((1275, 358), words.TITLE_LINES[1], font("serif-bold", 76), INK, anchor="mm")
    canvas.text((1275, 450), "Ida Marwick        Tomas Reiher        Lin Qiaoyu", font("serif", 48), INK, anchor="mm")
    canvas.text((1275, 512), "Institute for Coastal Observation, Ellery", font("serif-italic", 40), INK, anchor="mm")
    canvas.text((1275, 592), "Abstract", font("serif-bold", 42), INK, anchor="mm")
    y = canvas.paragraph((400, 632, 2150, 0), words.ABSTRACT, font("serif", 39), INK, leading=1.24, justify=True)
    return y + 46


def _section(canvas: Canvas, left: float, top: float, heading: str, paragraphs: tuple[str, ...]) -> float:
    canvas.text((left, top), heading, font("serif-bold", 50), INK)
    return _body(canvas, left, top + 78, paragraphs)


def _body(canvas: Canvas, left: float, top: float, paragraphs: tuple[str, ...]) -> float:
    for paragraph in paragraphs:
        box = (left, top, left + COLUMN_PX, 0)
        top = canvas.paragraph(box, paragraph, font("serif", BODY_PX), INK, leading=LEADING, justify=True) + 16
    return top + 22


def _equation(canvas: Canvas, left: float, top: float) -> float:
    """R(p) = 1 - exp(-(p / p0)^k), with its number."""
    face, small, baseline = font("serif-italic", 52), font("serif-italic", 34), top + 62
    x = left + 270
    for text, style, raise_px in (
        ("R(p)  =  1  \u2212  exp", face, 0),
        ("[", font("serif", 60), 0),
        (" \u2212(p / p", face, 0),
        ("0", small, -14),
        (")", face, 0),
        ("k", small, 24),
        (" ]", font("serif", 60), 0),
    ):
        canvas.text((x, baseline - raise_px), text, style, INK, anchor="ls")
        x += style.getlength(text)
    canvas.text((left + COLUMN_PX, baseline), "(1)", font("serif", BODY_PX), INK, anchor="rs")
    return top + 118


def _draw_figure(canvas: Canvas, left: float, top: float) -> float:
    """Recall against pixels per bird for three observers' distances, with the fitted curves."""
    plot_left, plot_right, plot_top, plot_bottom = left + 120, left + COLUMN_PX - 20, top + 20, top + 510

    def at(pixels: float, recall: float) -> tuple[float, float]:
        return plot_left + (plot_right - plot_left) * pixels / 60, plot_bottom - (plot_bottom - plot_top) * recall

    for tenth in range(0, 11, 2):
        y = round(at(0, tenth / 10)[1])
        canvas.rule((plot_left, y), (plot_right, y), "#dddddd", 2)
        canvas.text((plot_left - 16, y), f"{tenth / 10:.1f}", font("sans", 30), INK, anchor="rm")
    for pixels in range(0, 61, 10):
        canvas.text((at(pixels, 0)[0], plot_bottom + 14), str(pixels), font("sans", 30), INK, anchor="ma")
    for index, (label, p0, k, shade) in enumerate(
        (("100 m", 9, 1.9, "#111111"), ("200 m", 14, 2.1, "#666666"), ("400 m", 23, 2.3, "#a0a0a0"))
    ):
        curve = [(p, 1 - math.exp(-((p / p0) ** k))) for p in range(0, 61)]
        canvas.path([at(*point) for point in curve], shade, 5)
        for number, pixels in enumerate(range(4, 60, 5)):
            offset = 0.028 * math.sin(2.4 * number + 1.7 * index)
            canvas.disc(at(pixels, min(max(curve[pixels][1] + offset, 0.01), 0.985)), 9, shade)
        y = plot_bottom - 190 + 54 * index
        canvas.path([(plot_right - 250, y), (plot_right - 180, y)], shade, 6)
        canvas.text((plot_right - 160, y), label, font("sans", 32), INK, anchor="lm")
    canvas.rule((plot_left, plot_top), (plot_left, plot_bottom), INK, 3)
    canvas.rule((plot_left, plot_bottom), (plot_right, plot_bottom), INK, 3)
    canvas.text(((plot_left + plot_right) / 2, plot_bottom + 62), "pixels per bird", font("sans", 32), INK, anchor="ma")
    upright = Canvas(490, 40)
    upright.text((245, 20), "share of birds found", font("sans", 32), INK, anchor="mm")
    canvas.image.paste(upright.image.rotate(90, expand=True), (int(left) - 2, int(plot_top)))
    box = (left, plot_bottom + 128, left + COLUMN_PX, 0)
    return canvas.paragraph(box, words.FIGURE_CAPTION, font("serif", 36), INK, leading=1.22, justify=True) + 50


def _draw_table(canvas: Canvas, left: float, top: float) -> float:
    box = (left, top, left + COLUMN_PX, 0)
    y = canvas.paragraph(box, words.TABLE_CAPTION, font("serif", 36), INK, leading=1.22, justify=True) + 16
    canvas.rule((left, y), (left + COLUMN_PX, y), INK, 4)
    ends = (left + 10, left + 430, left + 620, left + 830, left + COLUMN_PX - 10)
    for number, row in enumerate(words.TABLE):
        is_bold = number in (0, len(words.TABLE) - 1)
        for index, (x, cell) in enumerate(zip(ends, row, strict=True)):
            face = font("serif-bold" if is_bold else "serif", 38)
            canvas.text((x, y + 33), cell, face, INK, anchor="lm" if index == 0 else "rm")
        y += 58
        if number == 0:
            canvas.rule((left, y), (left + COLUMN_PX, y), INK, 2)
    canvas.rule((left, y + 4), (left + COLUMN_PX, y + 4), INK, 4)
    return y + 58


def _draw_references(canvas: Canvas, left: float, top: float) -> None:
    canvas.text((left, top), "References", font("serif-bold", 44), INK)
    y = top + 64
    for reference in words.REFERENCES:
        y = canvas.paragraph((left, y, left + COLUMN_PX, 0), reference, font("serif", 33), INK, leading=1.2) + 8
