"""Documents that other programs have drawn: HTML printed by Chromium, sheets by LibreOffice, charts by matplotlib.

The model was trained on none of their pictures. What they show comes from test seeds, like everything it is asked.
"""

from __future__ import annotations

import csv
import html
import importlib.util
import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ixc.chromium import find_chromium
from ixc.errors import SettingsError
from ixc.evaluation.held_out import Task
from ixc.tiling import SizePx
from ixc.training.records import CHARTS, Question, Record, draw_chart, draw_fields, draw_table
from ixc.training.sheets import Align
from ixc.training.wording import Split

_KINDS = ("receipt", "form", "table", "invoice", "label", "table")
_FAMILIES = ("sans-serif", "serif", "DejaVu Sans", "Liberation Sans", "monospace")
_TASKS = ("field", "table cell", "table row", "title", "chart value", "chart extreme")
_WINDOW_PX = SizePx(900, 760)
_MARGIN_PX = 30
_INK_BELOW = 200
"""A pixel whose darkest channel is below this belongs to what is shown."""
_SHEET_DPI = 150
_SHEET_TOP_PX = 158
"""Below the page's header; the picture ends above its footer."""
_TIMEOUT_S = 60
_PARTS = {"chromium": ("chromium",), "libreoffice": ("soffice", "pdftoppm"), "matplotlib": ("matplotlib",)}
"""What each program is made of."""
_PACKAGES = {
    "chromium": "chromium",
    "soffice": "libreoffice-calc",
    "pdftoppm": "poppler-utils",
    "matplotlib": "requirements-dev.txt",
}
"""What brings each part: a package of Debian, or the file that pip takes."""


def make_printed_tasks(num: int, seed: int) -> list[Task]:
    """One question each about ``num`` documents, in turn by each program of ``found_programs()``; none where there is none.

    Raises SettingsError when a program fails, or prints nothing.
    """
    programs = found_programs()
    tasks: list[Task] = []
    if not programs:
        return tasks
    with tempfile.TemporaryDirectory() as folder:
        for index in range(num):
            rng = np.random.default_rng([seed, 2, index])
            name = programs[index % len(programs)]
            record = _draw_record(rng, name, index // len(programs))
            question = _choose(rng, record)
            png, size_px = _PRINTERS[name](Path(folder), rng, record)
            words = question.in_words(rng, is_first=True)
            tasks.append(Task(png, size_px, question.task, words, question.answer, name))
    return tasks


def found_programs() -> tuple[str, ...]:
    """Those of chromium, libreoffice and matplotlib that are installed."""
    missing = missing_programs()
    return tuple(name for name, parts in _PARTS.items() if not missing.keys() & set(parts))


def missing_programs() -> dict[str, str]:
    """What is not installed of chromium, soffice, pdftoppm and matplotlib, each with what brings it.

    That is the name of a Debian package, or the requirements file for pip. With any of them missing the mixture of
    documents, and so the figure, is another.
    """
    is_there = {
        "chromium": find_chromium() is not None,
        "soffice": shutil.which("soffice") is not None,
        "pdftoppm": shutil.which("pdftoppm") is not None,
        "matplotlib": importlib.util.find_spec("matplotlib") is not None,
    }
    return {name: _PACKAGES[name] for name, found in is_there.items() if not found}


def _draw_record(rng: np.random.Generator, program: str, turn: int) -> Record:
    if program == "matplotlib":
        return draw_chart(rng, Split.TEST, CHARTS[turn % len(CHARTS)])
    if program == "libreoffice":
        return _draw_number_table(rng)
    kind = _KINDS[turn % len(_KINDS)]
    return draw_table(rng, Split.TEST) if kind == "table" else draw_fields(rng, Split.TEST, kind)


def _draw_number_table(rng: np.random.Generator) -> Record:
    """A table that a spreadsheet shows as it was typed: of 83.10 it would show 83.1, and the answer would be wrong."""
    while True:
        record = draw_table(rng, Split.TEST)
        if not any("." in item.text and item.text.endswith("0") for row in record.sheet.rows for item in row):
            return record


def _choose(rng: np.random.Generator, record: Record) -> Question:
    askable = [each for each in record.questions if each.task in _TASKS]
    return askable[rng.integers(len(askable))]


def _print_by_chromium(folder: Path, rng: np.random.Generator, record: Record) -> tuple[bytes, SizePx]:
    page, picture = folder / "page.html", folder / "page.png"
    page.write_text(_page(rng, record), encoding="utf-8")
    window = f"--window-size={_WINDOW_PX.width},{_WINDOW_PX.height}"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", window, f"--screenshot={picture}"]
    _run([find_chromium(), *flags, page.as_uri()], picture)
    return _cut_to_ink(picture, "chromium")


def _print_by_libreoffice(folder: Path, rng: np.random.Generator, record: Record) -> tuple[bytes, SizePx]:
    """The first sheet as it would be printed on a page, without header and footer, in the program's own default type."""
    sheet = folder / "sheet.csv"
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for row in record.sheet.rows:
            cells = {max(item.col, 0): item.text for item in row}
            writer.writerow([cells.get(col, "") for col in range(1 + max(cells, default=0))])
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    printed, picture = folder / "sheet.pdf", folder / "sheet.png"
    _run(["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", str(folder), str(sheet)], printed)
    crop = ["-r", str(_SHEET_DPI), "-x", "0", "-y", str(_SHEET_TOP_PX), "-W", "1240", "-H", "1300"]
    _run(["pdftoppm", *crop, "-png", "-singlefile", str(printed), str(picture.with_suffix(""))], picture)
    return _cut_to_ink(picture, "soffice")


def _print_by_matplotlib(folder: Path, rng: np.random.Generator, record: Record) -> tuple[bytes, SizePx]:
    """A bar, line or pie chart in matplotlib's default style, with its values printed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=150, layout="tight")
    axes = figure.add_subplot()
    names, texts = zip(*((row[0].text, row[1].text) for row in record.sheet.rows if len(row) == 2), strict=True)
    colour = f"C{rng.integers(10)}"
    axes.tick_params(labelsize=14)
    if record.kind == "pie chart":
        labels = [f"{name} {text}" for name, text in zip(names, texts, strict=True)]
        axes.pie(record.values, labels=labels, textprops={"fontsize": 14})
    elif record.kind == "line chart":
        axes.plot(names, record.values, marker="o", color=colour)
        for name, value, text in zip(names, record.values, texts, strict=True):
            axes.annotate(text, (name, value), (0, 8), textcoords="offset points", ha="center", fontsize=14)
        axes.margins(x=0.1, y=0.25)
    else:
        bars = axes.barh(names, record.values, color=colour)
        axes.bar_label(bars, labels=texts, padding=6, fontsize=14)
        axes.invert_yaxis()
        axes.margins(x=0.2)
    titles = [question.answer for question in record.questions if question.task == "title"]
    axes.set_title(titles[0] if titles else "", fontsize=16)
    picture = folder / "chart.png"
    figure.savefig(picture)
    return _cut_to_ink(picture, "matplotlib")


_PRINTERS = {"chromium": _print_by_chromium, "libreoffice": _print_by_libreoffice, "matplotlib": _print_by_matplotlib}


def _page(rng: np.random.Generator, record: Record) -> str:
    """The record's rows as a table with the browser's own ways of setting it."""
    width = 1 + max(item.col for row in record.sheet.rows for item in row)
    rows = []
    for row in record.sheet.rows:
        cells = {max(item.col, 0): item for item in row}
        spans = any(item.col < 0 for item in row)
        tags = []
        for col in range(1 if spans else width):
            item = cells.get(col)
            style = "text-align:right" if item and item.align is Align.RIGHT else ""
            text = html.escape(item.text) if item else ""
            is_bold = bool(item and (item.is_heading or item.key.startswith("col ")))
            tags.append(f'<td colspan={width if spans else 1} style="{style}">{f"<b>{text}</b>" if is_bold else text}</td>')
        rows.append(f"<tr>{''.join(tags)}</tr>")
    family, size_px = _FAMILIES[rng.integers(len(_FAMILIES))], int(rng.integers(22, 34))
    border = "td{border-bottom:1px solid #999}" if rng.random() < 0.5 else ""
    style = f"body{{margin:30px;font:{size_px}px '{family}'}} td{{padding:6px 14px}} {border}"
    return f"<meta charset=utf-8><style>{style}</style><table>{''.join(rows)}</table>"


def _run(command: Sequence[str], output: Path) -> None:
    """Run a program that writes ``output``. Raises SettingsError when it fails or writes nothing there.

    An exit code of 0 is not enough: soffice has it too after saying that the file could not be loaded, and what the document
    before left there would pass for this one.
    """
    name = Path(command[0]).name
    output.unlink(missing_ok=True)
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)  # noqa: S603 - the documents are our own
    except (OSError, subprocess.SubprocessError) as error:
        raise _not_printed(name, type(error).__name__) from error
    if not output.is_file():
        raise _not_printed(name, f"no {output.suffix} came")


def _cut_to_ink(picture: Path, name: str) -> tuple[bytes, SizePx]:
    """The picture cut to its contents and a margin, as PNG, and its size. Raises SettingsError for a blank or damaged one."""
    try:
        image = Image.open(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise _not_printed(name, "its picture is damaged") from error
    down, right = (np.asarray(image).min(-1) < _INK_BELOW).nonzero()
    if not right.size:
        raise _not_printed(name, "its picture is blank")
    box = (
        max(0, int(right.min()) - _MARGIN_PX),
        max(0, int(down.min()) - _MARGIN_PX),
        min(image.width, int(right.max()) + _MARGIN_PX),
        min(image.height, int(down.max()) + _MARGIN_PX),
    )
    image = image.crop(box)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), SizePx(image.height, image.width)


def _not_printed(name: str, reason: str) -> SettingsError:
    return SettingsError(f"{name} could not print a document ({reason}); mend or remove it.")
