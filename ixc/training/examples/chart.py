"""A bar chart, 1280x800: ferry passengers by line in two years."""

from __future__ import annotations

from PIL import Image

from ixc.training.examples.drawing import Canvas, font

INK, QUIET, GRID, LAST_YEAR, THIS_YEAR = "#1f2a37", "#6b7785", "#e4e8ed", "#b9c6d6", "#0f6fb8"
PASSENGERS = (  # line, thousands in 2024, thousands in 2025
    ("Old Town", 412, 437),
    ("Lighthouse", 188, 246),
    ("North Quay", 301, 288),
    ("Airport", 356, 391),
    ("Gull Island", 97, 164),
    ("Market", 254, 259),
)
PLOT_LEFT, PLOT_TOP, PLOT_RIGHT, PLOT_BOTTOM = 110, 190, 1230, 660
AXIS_TOP = 500


def draw_chart() -> Image.Image:
    canvas = Canvas(1280, 800)
    canvas.text((60, 44), "Gull Island grew fastest", font("sans-bold", 44), INK)
    canvas.text((60, 104), "Passengers of the Ellery ferries by line, thousands", font("sans", 26), QUIET)
    _draw_legend(canvas)
    _draw_axis(canvas)
    slot = (PLOT_RIGHT - PLOT_LEFT) / len(PASSENGERS)
    for index, (line, before, now) in enumerate(PASSENGERS):
        _draw_group(canvas, PLOT_LEFT + slot * (index + 0.5), line, before, now)
    canvas.rule((PLOT_LEFT, PLOT_BOTTOM), (PLOT_RIGHT, PLOT_BOTTOM), INK, 2)
    canvas.text((60, 754), "Source: Ellery Harbour Board, annual count, January 2026", font("sans", 20), QUIET)
    return canvas.image


def _draw_legend(canvas: Canvas) -> None:
    for x, colour, year in ((1000, LAST_YEAR, "2024"), (1120, THIS_YEAR, "2025")):
        canvas.rounded((x, 110, x + 24, 134), 4, colour)
        canvas.text((x + 34, 122), year, font("sans", 24), INK, anchor="lm")


def _draw_axis(canvas: Canvas) -> None:
    for value in range(0, AXIS_TOP + 1, 100):
        y = _height(value)
        canvas.rule((PLOT_LEFT, y), (PLOT_RIGHT, y), GRID, 2)
        canvas.text((PLOT_LEFT - 18, y), str(value), font("sans", 22), QUIET, anchor="rm")


def _draw_group(canvas: Canvas, middle: float, line: str, before: int, now: int) -> None:
    for left, value, colour in ((middle - 62, before, LAST_YEAR), (middle + 4, now, THIS_YEAR)):
        canvas.rounded((left, _height(value), left + 58, PLOT_BOTTOM + 8), 6, colour)
        canvas.fill((left - 1, PLOT_BOTTOM, left + 60, PLOT_BOTTOM + 12), "#ffffff")
        canvas.text((left + 29, _height(value) - 8), str(value), font("sans-bold", 22), INK, anchor="ms")
    change = 100 * (now - before) / before
    canvas.text((middle, PLOT_BOTTOM + 20), line, font("sans-bold", 24), INK, anchor="ma")
    colour = "#15803d" if change >= 0 else "#b42318"
    canvas.text((middle, PLOT_BOTTOM + 52), f"{change:+.0f} %".replace("-", "\u2212"), font("sans", 22), colour, anchor="ma")


def _height(value: float) -> int:
    """The y of a value."""
    return round(PLOT_BOTTOM - (PLOT_BOTTOM - PLOT_TOP) * value / AXIS_TOP)
