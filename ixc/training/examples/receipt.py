"""A photograph of a receipt, 1200x2400: printed flat, then laid on a table, lit and slightly turned."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from ixc.training.examples.drawing import Canvas, font

PAPER_PX = (900, 2060)  # width, height
INK = "#2b2b33"
GOODS = (  # article, quantity, unit price in cents
    ("SOURDOUGH LOAF", 1, 420),
    ("CRAB SALAD 200G", 2, 565),
    ("SMOKED MACKEREL", 1, 690),
    ("SEA BEANS BUNCH", 3, 145),
    ("UNSALTED BUTTER", 1, 310),
    ("LEMONS NET", 1, 240),
    ("POTATOES 2KG", 1, 385),
    ("OAT MILK 1L", 2, 195),
    ("GREEN APPLES", 6, 55),
    ("HARBOUR ALE 0.5L", 4, 275),
    ("BOTTLE DEPOSIT", 4, 25),
    ("DARK CHOCOLATE", 2, 330),
    ("PAPER BAG", 1, 20),
)
CASH_CENTS = 7000


def draw_receipt() -> Image.Image:
    return _photograph(_print_receipt())


def total_cents() -> int:
    """What the receipt adds up to."""
    return sum(quantity * price for _, quantity, price in GOODS)


def _print_receipt() -> Image.Image:
    width, height = PAPER_PX
    canvas = Canvas(width, height, "#fbfaf6")
    y = 100
    canvas.text((width / 2, y), "QUAYSIDE GROCER", font("mono-bold", 66), INK, anchor="mm")
    for line in ("12 Ropewalk, Ellery", "Tel. 0555 0142 88", "VAT no. EL 400 118 276"):
        y += 70 if line.startswith("12") else 48
        canvas.text((width / 2, y), line, font("mono", 34), INK, anchor="mm")
    y = _row(canvas, y + 56, "Sat 14 Mar 2026", "17:38")
    y = _row(canvas, y, "Till 3  Served by Ines", "No. 004821")
    y = _dashes(canvas, y)
    for article, quantity, price in GOODS:
        y = _row(canvas, y, article, _money(quantity * price))
        if quantity > 1:
            canvas.text((110, y - 4), f"{quantity} x {_money(price)}", font("mono", 32), "#55555e")
            y += 42
    y = _dashes(canvas, y)
    y = _totals(canvas, y)
    y = _dashes(canvas, y)
    canvas.text((width / 2, y + 34), "THANK YOU, COME AGAIN", font("mono-bold", 40), INK, anchor="mm")
    canvas.text((width / 2, y + 82), "Goods exchanged within 14 days", font("mono", 32), INK, anchor="mm")
    _barcode(canvas, y + 124, "004821140326")
    return canvas.image


def _totals(canvas: Canvas, y: float) -> float:
    total = total_cents()
    canvas.text((60, y + 4), "TOTAL", font("mono-bold", 62), INK)
    canvas.text((840, y + 4), f"{_money(total)}", font("mono-bold", 62), INK, anchor="ra")
    y = _row(canvas, y + 88, "Cash", _money(CASH_CENTS))
    y = _row(canvas, y, "Change", _money(CASH_CENTS - total))
    return _row(canvas, y, "incl. 7.00 % VAT", _money(round(total * 7 / 107)))


def _row(canvas: Canvas, y: float, left: str, right: str) -> float:
    canvas.text((60, y), left, font("mono", 38), INK)
    canvas.text((840, y), right, font("mono", 38), INK, anchor="ra")
    return y + 50


def _dashes(canvas: Canvas, y: float) -> float:
    for x in range(60, 840, 24):
        canvas.fill((x, y + 18, x + 14, y + 21), INK)
    return y + 42


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _barcode(canvas: Canvas, y: float, digits: str) -> None:
    x = 210.0
    for digit in digits:
        for place, is_bar in enumerate(f"1{int(digit):04b}01"):
            if is_bar == "1":
                canvas.fill((x + place * 5.6, y, x + (place + 1) * 5.6, y + 110), INK)
        x += 40
    canvas.text((450, y + 136), " ".join(digits), font("mono", 30), INK, anchor="mm")


def _photograph(paper: Image.Image) -> Image.Image:
    """The paper on a wooden table: perspective, shadow, light from the left, a soft crease and sensor noise."""
    width, height = 1200, 2400
    rng = np.random.default_rng(14)
    corners = ((168, 150), (1046, 190), (1082, 2258), (112, 2226))
    placed = _lay(_crumple(paper, rng), corners, (width, height))
    mask = _lay(Image.new("L", paper.size, 255), corners, (width, height))
    shadow = mask.filter(ImageFilter.GaussianBlur(22)).transform(mask.size, Image.Transform.AFFINE, (1, 0, -16, 0, 1, -26))
    table = _table(width, height, rng)
    table = Image.composite(Image.new("RGB", table.size, "#20150d"), table, shadow.point(lambda level: level * 0.62))
    photo = np.asarray(Image.composite(placed, table, mask), dtype=np.float32)
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 1.05 - 0.17 * (across / width) - 0.12 * (down / height - 0.3) ** 2
    warm = np.array([1.0, 0.985, 0.945], dtype=np.float32)
    noise = rng.normal(0, 2.2, (height, width, 1)).astype(np.float32)
    lit = photo * light[:, :, None] * warm + noise
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))


def _crumple(paper: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The paper with low, wide waves of light and two folds."""
    coarse = Image.fromarray(rng.normal(128, 36, (9, 5)).clip(0, 255).astype(np.uint8))
    waves = np.asarray(coarse.resize(paper.size, Image.Resampling.BICUBIC), dtype=np.float32) / 128 - 1
    shade = 1 + 0.045 * waves
    rows = np.arange(paper.height, dtype=np.float32)
    for fold in (0.36, 0.71):
        away = (rows - fold * paper.height) / 14
        shade = shade * (1 - 0.07 * np.exp(-(away**2)) + 0.05 * np.exp(-((away - 1.6) ** 2)))[:, None]
    return Image.fromarray((np.asarray(paper, dtype=np.float32) * shade[:, :, None]).clip(0, 255).astype(np.uint8))


def _table(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Wooden boards: long grain along the height, a seam between boards."""
    grain = rng.normal(0, 1, (60, width)).astype(np.float32)
    grain = np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.BICUBIC))
    rings = np.sin(np.arange(width, dtype=np.float32) / 23 + 2.2 * np.sin(np.arange(height, dtype=np.float32) / 620)[:, None])
    tone = 1 + 0.05 * grain + 0.05 * rings
    boards = np.repeat(rng.normal(1, 0.05, 4), width // 4)[:width].astype(np.float32)
    tone = tone * boards[None, :]
    for seam in range(width // 4, width, width // 4):
        tone[:, seam - 2 : seam + 2] *= 0.55
    return Image.fromarray((np.array([134, 94, 60], dtype=np.float32) * tone[:, :, None]).clip(0, 255).astype(np.uint8))


def _lay(flat: Image.Image, corners: tuple[tuple[int, int], ...], size: tuple[int, int]) -> Image.Image:
    """``flat`` seen so that its corners (clockwise from the top left) fall on ``corners`` of an image of ``size``."""
    width, height = flat.size
    equations, targets = [], []
    for (x, y), (u, v) in zip(corners, ((0, 0), (width, 0), (width, height), (0, height)), strict=True):
        equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        targets += [u, v]
    coefficients = np.linalg.solve(np.array(equations, dtype=np.float64), np.array(targets, dtype=np.float64))
    # Twice as large and averaged down, so that the paper's edges are smooth.
    coefficients[[0, 1, 3, 4, 6, 7]] /= 2
    doubled = (size[0] * 2, size[1] * 2)
    return flat.transform(doubled, Image.Transform.PERSPECTIVE, coefficients.tolist(), Image.Resampling.BICUBIC).reduce(2)
