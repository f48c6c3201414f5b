"""Documents that another program has drawn: HTML printed by Chromium. The model was trained on none of its pictures."""

from __future__ import annotations

import html
import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ixc.errors import SettingsError
from ixc.evaluation.held_out import Task
from ixc.tiling import SizePx
from ixc.training.records import Record, draw_fields, draw_table
from ixc.training.wording import Split

GROUP = "chromium"
_KINDS = ("receipt", "form", "table", "invoice", "label", "table")
_FAMILIES = ("sans-serif", "serif", "DejaVu Sans", "Liberation Sans", "monospace")
_TASKS = ("field", "table cell", "table row", "title")
_WINDOW_PX = SizePx(900, 760)


def make_chromium_tasks(num: int, seed: int) -> list[Task]:
    """One question each about ``num`` web pages. Raises SettingsError when no Chromium is installed."""
    program = os.environ.get("IXC_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SettingsError("No Chromium was found; install the package chromium or set IXC_CHROMIUM.")
    tasks = []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(num):
            rng = np.random.default_rng([seed, 2, index])
            kind = _KINDS[index % len(_KINDS)]
            record = draw_table(rng, Split.TEST) if kind == "table" else draw_fields(rng, Split.TEST, kind)
            askable = [each for each in record.questions if each.task in _TASKS]
            question = askable[rng.integers(len(askable))]
            png, size_px = _print(program, Path(folder), _page(rng, record))
            tasks.append(Task(png, size_px, question.task, question.in_words(rng, is_first=True), question.answer, GROUP))
    return tasks


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
            style = "text-align:right" if item and item.is_right else ""
            text = html.escape(item.text) if item else ""
            is_bold = bool(item and (item.is_heading or item.key.startswith("col ")))
            tags.append(f'<td colspan={width if spans else 1} style="{style}">{f"<b>{text}</b>" if is_bold else text}</td>')
        rows.append(f"<tr>{''.join(tags)}</tr>")
    family, size_px = _FAMILIES[rng.integers(len(_FAMILIES))], int(rng.integers(22, 34))
    border = "td{border-bottom:1px solid #999}" if rng.random() < 0.5 else ""
    style = f"body{{margin:30px;font:{size_px}px '{family}'}} td{{padding:6px 14px}} {border}"
    return f"<meta charset=utf-8><style>{style}</style><table>{''.join(rows)}</table>"


def _print(program: str, folder: Path, page: str) -> tuple[bytes, SizePx]:
    """A screenshot as PNG, cut to its contents and a margin, and its size."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    picture = folder / "page.png"
    window = f"--window-size={_WINDOW_PX.width},{_WINDOW_PX.height}"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", window, f"--screenshot={picture}"]
    subprocess.run(  # noqa: S603 - the page is our own
        [program, *flags, f"file://{folder}/page.html"], check=True, capture_output=True, timeout=60
    )
    image = Image.open(picture).convert("RGB")
    ink = (np.asarray(image).min(-1) < 200).nonzero()
    right, bottom = min(image.width, int(ink[1].max()) + 30), min(image.height, int(ink[0].max()) + 30)
    file = io.BytesIO()
    image.crop((0, 0, right, bottom)).save(file, "PNG")
    return file.getvalue(), SizePx(bottom, right)
