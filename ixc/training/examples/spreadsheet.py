"""A spreadsheet window, 1920x1200: the berth log of one month."""

from __future__ import annotations

import random

from PIL import Image

from ixc.training.examples.drawing import Canvas, font

INK, QUIET, GRID, BAR, ACCENT = "#202124", "#5f6368", "#e1e3e6", "#f3f5f7", "#137a4b"
COLUMNS = (  # heading, width in pixels, alignment
    ("Berth", 110, "l"),
    ("Ship", 260, "l"),
    ("Line", 200, "l"),
    ("Arrived", 190, "l"),
    ("Left", 190, "l"),
    ("Hours", 110, "r"),
    ("Containers", 150, "r"),
    ("Per hour", 130, "r"),
    ("Crane", 110, "l"),
    ("Remarks", 400, "l"),
)
SHIPS = (  # ship, shipping line
    ("Marigold Bay", "Halden Line"),
    ("Northern Heron", "Halden Line"),
    ("Polar Thistle", "Halden Line"),
    ("Blue Meridian", "Meridian"),
    ("Aurelia", "Meridian"),
    ("Cape Linden", "Three Capes"),
    ("Tamarind", "Three Capes"),
    ("Kestrel Sound", "Ostfold Sea"),
    ("Ostara", "Ostfold Sea"),
    ("Lady Ashdown", "Ashdown & Co"),
    ("Saint Brannoc", "Ashdown & Co"),
)
REMARKS = ("", "", "", "", "", "Waited for the tide", "Crane stopped 40 min", "Refrigerated cargo", "Fog until 09:30",
           "Pilot changed", "Customs inspection", "Two hatches only")  # fmt: skip
GUTTER, SHEET_TOP, ROW_PX, NUM_ROWS = 70, 236, 31, 29
NUM_CALLS = 25
TOTAL_ROW, CONTAINERS_COLUMN = NUM_CALLS + 2, 6


def draw_spreadsheet() -> Image.Image:
    canvas = Canvas(1920, 1200)
    _draw_window(canvas)
    rows = _log()
    _draw_toolbar(canvas)
    _draw_grid(canvas)
    for number, row in enumerate([tuple(heading for heading, _, _ in COLUMNS), *rows], start=1):
        _draw_row(canvas, number, row, is_bold=number == 1)
    hours, containers = sum(float(row[5]) for row in rows), sum(int(row[CONTAINERS_COLUMN]) for row in rows)
    totals = ("Total", f"{len(rows)} calls", "", "", "", f"{hours:.1f}", f"{containers:,}", f"{containers / hours:.1f}", "", "")
    _draw_row(canvas, TOTAL_ROW, totals, is_bold=True)
    _draw_selection(canvas)
    _draw_tabs(canvas)
    return canvas.image


def _log() -> list[tuple[str, ...]]:
    """The invented calls, by day: the same every time."""
    rng = random.Random(2026)
    rows = []
    for index in range(NUM_CALLS):
        day, hour = 1 + index * 30 // NUM_CALLS, rng.choice(range(3, 20))
        ship, line = rng.choice(SHIPS)
        hours = rng.choice((6.5, 7.0, 8.5, 9.5, 11.0, 12.5, 14.0))
        containers = round(hours * rng.uniform(19, 34))
        end = hour * 60 + rng.choice((5, 20, 35, 50)) + round(hours * 60)
        start = end - round(hours * 60)
        rows.append((
            f"B{rng.randint(1, 9):02}",
            ship,
            line,
            f"{day:02} Mar {start // 60:02}:{start % 60:02}",
            f"{day + end // 1440:02} Mar {end // 60 % 24:02}:{end % 60:02}",
            f"{hours:.1f}",
            str(containers),
            f"{containers / hours:.1f}",
            f"Crane {rng.randint(1, 5)}",
            rng.choice(REMARKS),
        ))  # fmt: skip
    return rows


def _draw_window(canvas: Canvas) -> None:
    canvas.fill((0, 0, 1920, 58), ACCENT)
    canvas.rounded((24, 16, 50, 42), 5, "#ffffff")
    for line in range(3):
        canvas.fill((30, 22 + 7 * line, 44, 24 + 7 * line), ACCENT)
    canvas.text((68, 29), "Berth log 2026.ods", font("sans-bold", 24), "#ffffff", anchor="lm")
    canvas.text((1890, 29), "Saved 31 March, 17:42", font("sans", 20), "#d6efe2", anchor="rm")
    x = 24
    for menu in ("File", "Edit", "View", "Insert", "Format", "Data", "Tools", "Help"):
        canvas.text((x, 82), menu, font("sans", 21), INK, anchor="lm")
        x += font("sans", 21).getlength(menu) + 36


def _draw_toolbar(canvas: Canvas) -> None:
    canvas.fill((0, 108, 1920, 160), BAR)
    x = 24.0
    for label, face in (("100 %", "sans"), ("Sans", "sans"), ("11", "sans"), ("B", "sans-bold"), ("I", "sans-italic")):
        width = font(face, 20).getlength(label) + 36
        canvas.rounded((x, 116, x + width, 152), 6, "#ffffff")
        canvas.text((x + width / 2, 134), label, font(face, 20), INK, anchor="mm")
        x += width + 12
    for colour in ("#202124", "#d93025", "#f9ab00", "#137a4b", "#1a73e8"):
        canvas.rounded((x, 122, x + 24, 146), 4, colour)
        x += 34
    column = chr(ord("A") + CONTAINERS_COLUMN)
    canvas.text((48, 182), f"{column}{TOTAL_ROW}", font("sans-bold", 21), INK, anchor="mm")
    canvas.text((130, 182), "fx", font("serif-italic", 24), QUIET, anchor="mm")
    canvas.text((160, 182), f"=SUM({column}2:{column}{NUM_CALLS + 1})", font("sans", 21), INK, anchor="lm")
    for x in (98, 148):
        canvas.rule((x, 164), (x, 200), GRID, 2)


def _draw_grid(canvas: Canvas) -> None:
    bottom = SHEET_TOP + ROW_PX * NUM_ROWS
    canvas.fill((0, SHEET_TOP - 34, 1920, SHEET_TOP), BAR)
    canvas.fill((0, SHEET_TOP, GUTTER, bottom), BAR)
    canvas.fill((GUTTER, SHEET_TOP, 1920, SHEET_TOP + ROW_PX), "#dff1e7")
    for index in range(NUM_ROWS + 1):
        y = SHEET_TOP + ROW_PX * index
        canvas.rule((0, y), (1920, y), GRID)
        if index < NUM_ROWS:
            canvas.text((GUTTER / 2, y + ROW_PX / 2), str(index + 1), font("sans", 18), QUIET, anchor="mm")
    x = GUTTER
    for index, (_, width, _) in enumerate(COLUMNS):
        canvas.rule((x, SHEET_TOP - 34), (x, bottom), GRID)
        canvas.text((x + width / 2, SHEET_TOP - 17), chr(ord("A") + index), font("sans", 18), QUIET, anchor="mm")
        x += width
    canvas.rule((0, SHEET_TOP), (1920, SHEET_TOP), "#c4c8cc")


def _draw_row(canvas: Canvas, number: int, cells: tuple[str, ...], *, is_bold: bool) -> None:
    face = font("sans-bold" if is_bold else "sans", 19)
    top = SHEET_TOP + ROW_PX * (number - 1)
    x = GUTTER
    for (heading, width, align), cell in zip(COLUMNS, cells, strict=True):
        if heading == "Per hour" and not is_bold:
            shade = min(max((float(cell) - 19) / 15, 0), 1)
            colour = f"#{round(255 - 95 * shade):02x}{round(255 - 30 * shade):02x}{round(255 - 70 * shade):02x}"
            canvas.fill((x + 1, top + 1, x + width, top + ROW_PX), colour)
        place, anchor = (x + 10, "lm") if align == "l" else (x + width - 10, "rm")
        canvas.text((place, top + ROW_PX / 2 + 1), cell, face, INK, anchor=anchor)
        x += width


def _draw_selection(canvas: Canvas) -> None:
    left = GUTTER + sum(width for _, width, _ in COLUMNS[:CONTAINERS_COLUMN])
    width = COLUMNS[CONTAINERS_COLUMN][1]
    top = SHEET_TOP + ROW_PX * (TOTAL_ROW - 1)
    for start, end in (((left, top), (left + width, top)), ((left, top + ROW_PX), (left + width, top + ROW_PX)),
                       ((left, top), (left, top + ROW_PX)), ((left + width, top), (left + width, top + ROW_PX))):  # fmt: skip
        canvas.rule(start, end, ACCENT, 3)
    canvas.fill((left + width - 4, top + ROW_PX - 4, left + width + 5, top + ROW_PX + 5), ACCENT)


def _draw_tabs(canvas: Canvas) -> None:
    top = SHEET_TOP + ROW_PX * NUM_ROWS
    canvas.fill((0, top, 1920, 1200), BAR)
    x = 24.0
    for name in ("January", "February", "March", "Cranes", "Tariffs"):
        width = font("sans-bold", 20).getlength(name) + 44
        if name == "March":
            canvas.fill((x, top, x + width, top + 44), "#ffffff")
            canvas.fill((x, top + 40, x + width, top + 44), ACCENT)
        face = font("sans-bold" if name == "March" else "sans", 20)
        canvas.text((x + width / 2, top + 21), name, face, ACCENT if name == "March" else QUIET, anchor="mm")
        x += width + 6
    canvas.text((1890, top + 21), "Sheet 3 of 5", font("sans", 18), QUIET, anchor="rm")
