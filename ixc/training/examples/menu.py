"""A café's menu, 1200x1200: seven dishes, each with its price at the far end of the line."""

from __future__ import annotations

from PIL import Image

from ixc.training.examples.drawing import Canvas, font

PAPER, INK, HEADING = "#fffaf0", "#2b2118", "#7a2e1a"
PRICES = (
    ("Tea", "$2.40"),
    ("Coffee", "$3.10"),
    ("Soup", "$6.80"),
    ("Salad", "$7.90"),
    ("Bread", "$1.50"),
    ("Fish", "$14.20"),
    ("Cake", "$4.75"),
)
LEFT, RIGHT, TOP, LINE_HEIGHT = 220, 980, 390, 96


def draw_menu() -> Image.Image:
    canvas = Canvas(1200, 1200, PAPER)
    canvas.fill((60, 60, 1140, 64), HEADING)
    canvas.fill((60, 1136, 1140, 1140), HEADING)
    canvas.text((600, 220), "Menu", font("serif-bold", 84), HEADING, anchor="ms")
    for index, (dish, price) in enumerate(PRICES):
        baseline = TOP + LINE_HEIGHT * index
        canvas.text((LEFT, baseline), dish, font("serif", 52), INK, anchor="ls")
        canvas.text((RIGHT, baseline), price, font("serif", 52), INK, anchor="rs")
    return canvas.image
