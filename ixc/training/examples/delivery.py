"""A delivery note whose print is small on its page: legible in many tiles, a grey haze in one view."""

from __future__ import annotations

from PIL import Image

from ixc.training.examples.drawing import Canvas, font

FIELDS = (
    ("Order no.:", "48213"),
    ("Date:", "14.03.2026"),
    ("Customer:", "Maria Keller"),
    ("City:", "Lisbon"),
    ("Weight:", "12.5 kg"),
    ("Total:", "$86.40"),
)
SHOP = "Harbour Market"


def draw_delivery() -> Image.Image:
    """A sheet of 2400x1600 with a heading and six fields in the middle, in type of 60 px."""
    canvas = Canvas(2400, 1600, "#ffffff")
    canvas.text((700, 420), SHOP, font("sans-bold", 78), "#14408c", anchor="ls")
    canvas.text((700, 540), "Delivery note", font("sans", 60), "#202020", anchor="ls")
    canvas.rule((700, 580), (1700, 580), "#9aa4b5", 4)
    for index, (label, value) in enumerate(FIELDS):
        baseline = 690 + 105 * index
        canvas.text((700, baseline), label, font("sans", 60), "#202020", anchor="ls")
        canvas.text((1180, baseline), value, font("sans", 60), "#202020", anchor="ls")
    return canvas.image
