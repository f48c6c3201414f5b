"""A tall infographic, 816x5133: one day at the harbour, hour by hour, with the tide running down its left side."""

from __future__ import annotations

import math

from PIL import Image

from ixc.training.examples.drawing import Box, Canvas, font, gradient

WIDTH, HEIGHT = 816, 5133
FOOT_TOP = 4580
DAY_TOP, HOUR_PX = 520, 166
SKY = (
    (0.0, "#0b1633"), (0.16, "#152450"), (0.27, "#6a4c7d"), (0.31, "#f0a36b"), (0.36, "#f8d9a8"), (0.43, "#bfe0ee"),
    (0.58, "#8fc9ea"), (0.70, "#f6cf8e"), (0.745, "#e5875b"), (0.79, "#593a68"), (0.85, "#182552"), (1.0, "#0b1633"),
)  # fmt: skip
EVENTS = (  # hour, heading, text, figure, unit of the figure
    (0.5, "The pilots change over", "Two launches lie ready. Three ships wait in the outer roads.", "3", "ships waiting"),
    (2.0, "Ice for the fish market", "The ice plant on Quay 2 starts its conveyors.", "18", "tonnes of ice"),
    (4.0, "The boats come in", "Forty-one boats land mackerel, crab and plaice before the bell.", "26.4", "tonnes landed"),
    (5.5, "First ferry", "The Old Town line leaves with bakers, nurses and one dog.", "112", "passengers"),
    (7.0, "Auction ends", "The last crate of crab goes for 9.40 a kilo.", "9.40", "per kilo of crab"),
    (8.0, "Rush hour on the water", "A ferry leaves every four minutes; nine are out at once.", "8,930", "passengers, 6 to 9"),
    (10.0, "The cranes at full reach", "Marigold Bay is unloaded at Berth 07 by two cranes.", "61", "containers an hour"),
    (12.0, "Noon gun", "Fired every day since 1871, except for eleven days in 1916.", "104", "decibels at the rail"),
    (13.5, "School on deck", "Class 4b counts gulls and measures how clear the water is.", "3.2", "metres of sight"),
    (15.0, "High water", "The lock to the inner basin stands open for half an hour.", "4.87", "metres above datum"),
    (17.0, "The way home", "The evening boats are fuller than the morning ones.", "9,415", "passengers, 16 to 19"),
    (19.0, "Lights on", "Two lighthouses, 64 buoys, 12 leading lights.", "78", "lights"),
    (21.0, "Dredger at work", "Silt from the fairway goes to the bird island.", "1,150", "cubic metres"),
    (23.0, "Last ferry", "Gull Island line, 23:10. Miss it and you sleep with the gulls.", "23:10", "departure"),
)  # fmt: skip
TOTALS = (("31,206", "passengers"), ("487", "crossings"), ("1,204", "containers"), ("26.4 t", "fish landed"))


def draw_infographic() -> Image.Image:
    canvas = Canvas.over(gradient(WIDTH, HEIGHT, SKY))
    _draw_stars(canvas)
    _draw_tide(canvas)
    _draw_head(canvas)
    _draw_hours(canvas)
    for hour, heading, text, figure, unit in EVENTS:
        _draw_event(canvas, _y(hour), heading, text, figure, unit)
    _draw_foot(canvas)
    return canvas.image


def _y(hour: float) -> float:
    return DAY_TOP + HOUR_PX * hour


def _is_dark(y: float) -> bool:
    """Whether the sky at ``y`` needs light letters."""
    return not 0.292 < y / HEIGHT < 0.77


def _tide_m(hour: float) -> float:
    """Height of the tide in metres: high water 4.87 at 15:00, low water 0.61, a period of 12.4 hours."""
    return 2.74 + 2.13 * math.cos(2 * math.pi * (hour - 15.0) / 12.4)


def _draw_head(canvas: Canvas) -> None:
    canvas.text((56, 84), "ELLERY HARBOUR", font("sans-bold", 26), "#f6c177")
    canvas.text((56, 128), "One day", font("sans-bold", 104), "#ffffff")
    canvas.text((56, 240), "at the water", font("sans-bold", 104), "#ffffff")
    text = "Tuesday, 17 March 2026, from midnight to midnight: who comes, who goes, and how high the water stands."
    canvas.paragraph((58, 378, 620, 0), text, font("sans", 25), "#c9d4f2", leading=1.4)


def _draw_stars(canvas: Canvas) -> None:
    for index in range(150):
        # Golden-ratio steps: even but without a pattern.
        x, y = 816 * (index * 0.618034 % 1), index * 0.7548777 % 1
        y = 1060 * y if index % 2 else 4300 + 830 * y
        canvas.disc((x, y), 0.7 + 1.2 * (index * 0.5698 % 1), "#b9c6ee")
    sky = canvas.image.getpixel((640, 160))
    canvas.disc((706, 176), 58, "#f3ead0")
    canvas.disc((680, 160), 52, "#{:02x}{:02x}{:02x}".format(*sky))
    canvas.disc((700, _y(11.03)), 46, "#ffe9a8")
    canvas.disc((700, _y(11.03)), 38, "#fff6d8")


def _water_edge(hour: float) -> float:
    """The x of the water's edge: further right is higher. It swings in before the day begins and out after it ends."""
    inside = min(max((hour + 0.25) / 0.6, 0.0), max((24.35 - hour) / 0.6, 0.0), 1.0)
    return (18 + 26 * _tide_m(hour)) * inside * inside * (3 - 2 * inside)


def _draw_tide(canvas: Canvas) -> None:
    edge = [(_water_edge(step / 20), _y(step / 20)) for step in range(-5, 488)]
    for rim, colour in ((1.12, "#5f9fc4"), (1.0, "#2f78ab")):
        canvas.polygon([(0, edge[0][1]), *((x * rim, y) for x, y in edge), (0, edge[-1][1])], colour)
    for hour, height in ((2.6, "4.87 m"), (8.8, "0.61 m"), (15.0, "4.87 m"), (21.2, "0.61 m")):
        x, y = _water_edge(hour), _y(hour)
        canvas.disc((x, y), 7, "#ffffff")
        if height.startswith("4"):
            canvas.text((x - 16, y), f"high {height}", font("sans-bold", 17), "#ffffff", anchor="rm")
        else:
            canvas.text(
                (x + 18, y), f"low {height}", font("sans-bold", 17), "#ffffff" if _is_dark(y) else "#23405e", anchor="lm"
            )


def _draw_hours(canvas: Canvas) -> None:
    for hour in range(25):
        y = round(_y(hour))
        colour = "#ffffff" if _is_dark(y) else "#23405e"
        canvas.rule((176, y), (188, y), colour, 2)
        canvas.text((198, y), f"{hour:02}:00", font("sans", 19), colour, anchor="lm")
    canvas.rule((176, _y(0)), (176, _y(24)), "#8fa6c9", 2)


def _draw_event(canvas: Canvas, y: float, heading: str, text: str, figure: str, unit: str) -> None:
    is_dark = _is_dark(y)
    paper, ink, quiet, accent = (
        ("#22305f", "#ffffff", "#c2cdf0", "#f6c177") if is_dark else ("#ffffff", "#16283c", "#4c6076", "#c2410c")
    )
    box: Box = (276, y - 66, 784, y + 78)
    canvas.rounded((box[0], box[1] + 5, box[2], box[3] + 5), 16, "#101b3c" if is_dark else "#7ea7bd")
    canvas.rounded(box, 16, paper)
    canvas.polygon([(278, y - 10), (260, y), (278, y + 10)], paper)
    canvas.text((298, y - 48), heading, font("sans-bold", 24), ink)
    canvas.paragraph((298, y - 14, 590, 0), text, font("sans", 19), quiet, leading=1.32)
    canvas.text((696, y - 2), figure, font("sans-bold", 44 if len(figure) < 6 else 36), accent, anchor="mm")
    canvas.text((696, y + 38), unit, font("sans", 17), quiet, anchor="mm")


def _draw_foot(canvas: Canvas) -> None:
    canvas.rounded((32, FOOT_TOP, 784, 5016), 22, "#f7f4ea")
    canvas.text((64, FOOT_TOP + 34), "The day in four figures", font("sans-bold", 32), "#16283c")
    for index, (figure, what) in enumerate(TOTALS):
        x = 64 + 178 * index
        canvas.text((x, FOOT_TOP + 104), figure, font("sans-bold", 40), "#c2410c")
        canvas.text((x, FOOT_TOP + 154), what, font("sans", 21), "#4c6076")
    canvas.text((64, FOOT_TOP + 222), "Passengers by line", font("sans-bold", 22), "#16283c")
    lines = (
        ("Old Town", 9480),
        ("Airport", 7615),
        ("North Quay", 5206),
        ("Market", 4873),
        ("Lighthouse", 2790),
        ("Gull Island", 1242),
    )
    for index, (line, passengers) in enumerate(lines):
        y = FOOT_TOP + 262 + 27 * index
        canvas.text((64, y + 9), line, font("sans", 19), "#16283c", anchor="lm")
        canvas.rounded((190, y, 190 + passengers / 20, y + 18), 4, "#2f78ab")
        canvas.text((200 + passengers / 20, y + 9), f"{passengers:,}", font("sans-bold", 18), "#16283c", anchor="lm")
    note = "Counts: harbour office, ferry turnstiles, fish auction. Tide: gauge at the lock. Harbour board, April 2026."
    canvas.paragraph((56, 5044, 770, 0), note, font("sans", 17), "#aebbe0", leading=1.4)
