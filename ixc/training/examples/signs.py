"""Two one-line pictures: a platform sign and a luggage label."""

from __future__ import annotations

from PIL import Image

from ixc.training.examples.drawing import Canvas, font


def draw_sign() -> Image.Image:
    """An enamel sign, 900x300: white letters on blue."""
    canvas = Canvas(900, 300, "#d9d5cc")
    canvas.rounded((18, 18, 882, 288), 26, "#b9b4a8")
    canvas.rounded((18, 14, 882, 282), 26, "#ffffff")
    canvas.rounded((26, 22, 874, 274), 20, "#14408c")
    for x in (56, 844):
        for y in (52, 244):
            canvas.disc((x, y + 1), 7, "#0d2d66")
            canvas.disc((x, y), 6, "#c9d3e6")
    canvas.text((450, 148), "PLATFORM 7", font("sign", 104), "#ffffff", anchor="mm")
    return canvas.image


def draw_label() -> Image.Image:
    """A paper label with a punched hole, 900x300: dark letters on cream."""
    canvas = Canvas(900, 300, "#7f9189")
    canvas.polygon([(34, 154), (112, 50), (870, 50), (870, 268), (112, 268)], "#6b7c75")
    canvas.polygon([(30, 150), (108, 40), (866, 40), (866, 260), (108, 260)], "#f6ecd6")
    canvas.disc((118, 150), 25, "#d9b98a")
    canvas.disc((118, 150), 15, "#7f9189")
    canvas.rule((180, 84), (836, 84), "#cdb891", 3)
    canvas.rule((180, 214), (836, 214), "#cdb891", 3)
    canvas.text((508, 149), "Fresh bread", font("sign-serif", 84), "#3c2a1b", anchor="mm")
    return canvas.image
