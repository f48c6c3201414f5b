"""A boarding pass, 1500x900: six fields, their names in grey and what they say in bold."""

from __future__ import annotations

from PIL import Image

from ixc.training.examples.drawing import Canvas, font

INK, QUIET, BAND, PAPER = "#16202c", "#56626f", "#0f4c81", "#ffffff"
FIELDS = (
    ("Name:", "Maria Keller"),
    ("From:", "Oslo"),
    ("To:", "Lisbon"),
    ("Date:", "12 May 2026"),
    ("Gate:", "B14"),
    ("Seat:", "27C"),
)
LEFT, VALUES_LEFT, TOP, LINE_HEIGHT = 140, 420, 300, 96


def draw_boarding_pass() -> Image.Image:
    canvas = Canvas(1500, 900, PAPER)
    canvas.fill((0, 0, 1500, 160), BAND)
    canvas.text((LEFT, 105), "Boarding pass", font("sans-bold", 72), PAPER, anchor="ls")
    for index, (name, value) in enumerate(FIELDS):
        baseline = TOP + LINE_HEIGHT * index
        canvas.text((LEFT, baseline), name, font("sans", 50), QUIET, anchor="ls")
        canvas.text((VALUES_LEFT, baseline), value, font("sans-bold", 50), INK, anchor="ls")
    return canvas.image
