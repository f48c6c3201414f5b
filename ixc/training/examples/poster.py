"""A festival poster in 4K, 3840x2160: a picture on the left, three days of programme and the small print on the right."""

from __future__ import annotations

import math

from PIL import Image

from ixc.training.examples import poster_text as words
from ixc.training.examples.drawing import Canvas, font, gradient

NAVY, CREAM, CORAL, QUIET, LINE = "#12284a", "#fbf4e4", "#d9482b", "#5b6a80", "#d8ccb0"
PICTURE_PX = (1480, 2160)  # width, height
LEFT_X, RIGHT_X = 1570, 3760
COLUMN_PX, GAP_PX = 690, 60


def draw_poster() -> Image.Image:
    canvas = Canvas(3840, 2160, CREAM)
    canvas.image.paste(_draw_picture(), (0, 0))
    _draw_stages(canvas)
    for index, (day, date, events) in enumerate(words.DAYS):
        _draw_day(canvas, LEFT_X + index * (COLUMN_PX + GAP_PX), day, date, events)
    _draw_ferries(canvas, 1596)
    _draw_practical(canvas, 1596)
    canvas.paragraph((LEFT_X, 2056, RIGHT_X, 0), words.SMALL_PRINT, font("sans", 20), QUIET, leading=1.3)
    return canvas.image


# --- the picture on the left --------------------------------------------------------------------------------------


def _draw_picture() -> Image.Image:
    width, height = PICTURE_PX
    canvas = Canvas.over(gradient(width, height, ((0, "#f9e3b4"), (0.35, "#f6c18a"), (0.62, "#ee8f68"), (1, "#ee8f68"))))
    canvas.polygon([(1180, 946), (0, 826), (0, 1066)], "#fbe6ba")  # the lighthouse's beam
    canvas.disc((770, 1270), 400, "#f7d9a0")
    canvas.disc((770, 1270), 340, "#fbe9c4")
    _draw_lighthouse(canvas)
    for gull in ((210, 1230, 58), (330, 1160, 40), (1370, 900, 52), (1330, 1120, 32), (640, 1120, 28)):
        _draw_gull(canvas, *gull)
    _draw_wave(canvas, 1560, 30, 520, 0.0, "#2f9c95")
    _draw_boat(canvas, 330, 1610, 1.0, "#fffaf0", CORAL)
    _draw_wave(canvas, 1650, 36, 610, 1.9, "#1b7f79")
    _draw_boat(canvas, 860, 1760, 1.55, CORAL, NAVY)
    _draw_wave(canvas, 1810, 40, 700, 3.1, "#15606b")
    _draw_wave(canvas, 1950, 34, 560, 0.7, NAVY)
    canvas.spaced((92, 190), "ELLERY", font("sans-bold", 84), CORAL, 26)
    canvas.text((84, 216), "Harbour", font("sans-bold", 300), NAVY)
    canvas.text((84, 496), "Festival", font("sans-bold", 300), NAVY)
    canvas.text((96, 2066), "12 to 14 June 2026", font("sans-bold", 92), CREAM, anchor="lm")
    canvas.text((1388, 2068), "the 38th", font("serif-italic", 64), "#f3c879", anchor="rm")
    return canvas.image


def _draw_wave(canvas: Canvas, top: float, swing: float, length: float, phase: float, colour: str) -> None:
    width, height = PICTURE_PX
    crest = [(x, top + swing * math.sin(2 * math.pi * x / length + phase)) for x in range(-8, width + 9, 8)]
    canvas.polygon([(-8, height), *crest, (width + 8, height)], colour)


def _draw_boat(canvas: Canvas, x: float, y: float, scale: float, sail: str, hull: str) -> None:
    """A sailing boat; (x, y) is the middle of its waterline."""

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x + scale * across, y + scale * down) for across, down in points]

    canvas.polygon(at((-4, -290), (4, -290), (4, -40), (-4, -40)), "#6b4a2f")
    canvas.polygon(at((14, -280), (150, -64), (14, -64)), sail)
    canvas.polygon(at((-14, -240), (-104, -64), (-14, -64)), "#fbe2b8" if sail == CORAL else "#f3d9b2")
    canvas.polygon(at((-140, -48), (168, -48), (112, 34), (-96, 34)), hull)
    canvas.polygon(at((-140, -48), (168, -48), (158, -32), (-130, -32)), CREAM)


def _draw_lighthouse(canvas: Canvas) -> None:
    rock = [(900, 1680), (1010, 1530), (1120, 1490), (1290, 1500), (1400, 1560), (1480, 1590), (1480, 1700), (900, 1700)]
    canvas.polygon(rock, "#7c4a45")
    foot, head, lean = 1500, 1000, 28  # the tower narrows by ``lean`` pixels on each side from foot to head

    def band(top: float, bottom: float, colour: str) -> None:
        at_top, at_bottom = lean * (foot - top) / (foot - head), lean * (foot - bottom) / (foot - head)
        canvas.polygon(
            [(1118 + at_bottom, bottom), (1118 + at_top, top), (1242 - at_top, top), (1242 - at_bottom, bottom)], colour
        )

    band(head, foot, "#fffaf0")
    for top, bottom in ((1080, 1170), (1260, 1350), (1440, 1500)):
        band(top, bottom, CORAL)
    canvas.rounded((1128, 982, 1232, 1004), 6, NAVY)
    canvas.fill((1152, 910, 1208, 982), "#fff0c2")
    for x in (1150, 1178, 1204):
        canvas.fill((x, 910, x + 6, 982), NAVY)
    canvas.polygon([(1138, 912), (1180, 856), (1222, 912)], NAVY)
    canvas.disc((1180, 852), 9, NAVY)
    for top in (1200, 1380):
        canvas.rounded((1164, top, 1196, top + 48), 14, NAVY)


def _draw_gull(canvas: Canvas, x: float, y: float, span: float) -> None:
    for side in (-1, 1):
        wing = [(x + side * span * t, y - span * 0.42 * math.sin(math.pi * t**0.8)) for t in (step / 12 for step in range(13))]
        canvas.path(wing, NAVY, max(span / 9, 3))


# --- the programme on the right -----------------------------------------------------------------------------------


def _draw_stages(canvas: Canvas) -> None:
    canvas.text((LEFT_X, 112), "Programme", font("sans-bold", 76), NAVY, anchor="lm")
    x = 2090.0
    for name, colour in words.STAGES.values():
        canvas.disc((x, 116), 17, colour)
        canvas.text((x + 32, 116), name, font("sans", 40), NAVY, anchor="lm")
        x += 32 + font("sans", 40).getlength(name) + 70


def _draw_day(canvas: Canvas, left: float, day: str, date: str, events: tuple[tuple[str, str, str, str], ...]) -> None:
    canvas.rounded((left, 190, left + COLUMN_PX, 282), 18, NAVY)
    canvas.text((left + 30, 237), day, font("sans-bold", 50), CREAM, anchor="lm")
    canvas.text((left + COLUMN_PX - 30, 238), date, font("sans", 40), "#f3c879", anchor="rm")
    for index, (time, stage, title, detail) in enumerate(events):
        top = 312 + 112 * index
        canvas.text((left, top + 2), time, font("narrow-bold", 46), NAVY)
        canvas.disc((left + 140, top + 28), 15, words.STAGES[stage][1])
        canvas.text((left + 174, top), title, font("narrow-bold", 42), NAVY)
        canvas.text((left + 174, top + 50), detail, font("sans", 29), QUIET)
        if index < len(events) - 1:
            canvas.rule((left, top + 98), (left + COLUMN_PX, top + 98), LINE, 2)


def _draw_ferries(canvas: Canvas, top: int) -> None:
    canvas.rounded((LEFT_X - 30, top - 26, LEFT_X + 1180, top + 432), 22, "#f1e6ca")
    canvas.text((LEFT_X, top), "Ferries on the festival days", font("sans-bold", 40), NAVY)
    head = ("Line", "From", "First", "Every", "Last Fri", "Last Sat", "Last Sun")
    stops = (0, 230, 440, 590, 780, 960, 1140)
    for number, row in enumerate((head, *words.FERRIES)):
        y = top + 84 + 48 * number
        for index, (stop, cell) in enumerate(zip(stops, row, strict=True)):
            shown = f"{cell} min" if index == 3 and number else cell
            face = font("sans-bold" if number == 0 or index == 0 else "sans", 28)
            canvas.text((LEFT_X + stop, y), shown, face, NAVY, anchor="lm" if index < 2 else "rm")
        if number:
            canvas.rule((LEFT_X, y - 25), (LEFT_X + 1150, y - 25), LINE, 2)


def _draw_practical(canvas: Canvas, top: int) -> None:
    left = LEFT_X + 1240
    canvas.text((left, top), "Good to know", font("sans-bold", 40), NAVY)
    y: float = top + 66
    for paragraph in words.PRACTICAL:
        y = canvas.paragraph((left, y, RIGHT_X, 0), paragraph, font("sans", 27), "#33435c", leading=1.32) + 16
