"""A delivery note whose print is small on its page: legible in many tiles, a grey haze in one view."""

from __future__ import annotations

from PIL import Image

from ixc.training.examples.drawing import Canvas, font

SHOP = "Harbour Market"
FIELDS = (
    ("Order no.:", "48213"),
    ("Date:", "14.03.2026"),
    ("Customer:", "Maria Keller"),
    ("City:", "Lisbon"),
    ("Weight:", "12.5 kg"),
    ("Total:", "$86.40"),
)


def draw_delivery() -> Image.Image:
    """A sheet of 2000x1334 with a heading and six fields in the middle, in type of 50 px."""
    canvas = Canvas(2000, 1334, "#ffffff")
    canvas.text((583, 350), SHOP, font("sans-bold", 65), "#14408c", anchor="ls")
    canvas.text((583, 450), "Delivery note", font("sans", 50), "#202020", anchor="ls")
    canvas.rule((583, 483), (1417, 483), "#9aa4b5", 3)
    for index, (label, value) in enumerate(FIELDS):
        baseline = 575 + 88 * index
        canvas.text((583, baseline), label, font("sans", 50), "#202020", anchor="ls")
        canvas.text((983, baseline), value, font("sans", 50), "#202020", anchor="ls")
    return canvas.image
