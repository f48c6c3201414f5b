"""What documents printed by other programs need is named part by part, so that a mixture without some of them is noticed."""

from __future__ import annotations

import io
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from ixc.errors import SettingsError
from ixc.evaluation import other_programs

SEED = 5
PACKAGES = {
    "chromium": "chromium",
    "soffice": "libreoffice-calc",
    "pdftoppm": "poppler-utils",
    "matplotlib": "requirements-dev.txt",
}


@pytest.fixture
def machine(monkeypatch):
    """Install only these programs on a machine of the test's own."""

    def install(*names: str) -> None:
        monkeypatch.delenv("IXC_CHROMIUM", raising=False)
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name in names else None)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in names else None)

    return install


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        ((), ()),
        (("soffice",), ()),
        (("chromium", "soffice"), ("chromium",)),
        (("soffice", "pdftoppm", "matplotlib"), ("libreoffice", "matplotlib")),
        (tuple(PACKAGES), ("chromium", "libreoffice", "matplotlib")),
    ],
)
def test_what_is_missing_is_named_with_what_brings_it(machine, installed, found):
    machine(*installed)
    assert other_programs.missing_programs() == {name: PACKAGES[name] for name in PACKAGES if name not in installed}
    assert other_programs.found_programs() == found


SEED = 5
PRINTS_ONCE = """#!/bin/sh
for option in "$@"; do
  case "$option" in --screenshot=*) picture="${option#--screenshot=}" ;; esac
done
[ -e "$0.printed" ] || cp "$0.png" "$picture"
touch "$0.printed"
"""
LOADS_ONCE = """#!/bin/sh
while [ $# -gt 1 ]; do
  [ "$1" = --outdir ] && folder="$2"
  shift
done
[ -e "$0.printed" ] && { echo "Error: source file could not be loaded"; exit 0; }
touch "$0.printed" "$folder/sheet.pdf"
"""
MAKES_A_PICTURE = """#!/bin/sh
for last in "$@"; do :; done
cp "$0.png" "$last.png"
"""


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Put programs of the test's own on the path; each has the picture that it shows beside it."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def write(name: str, script: str, picture=None) -> None:
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
        if picture is None:
            picture = Image.new("RGB", (200, 100), "white")
            picture.paste("black", (80, 40, 120, 60))
        picture.save(tmp_path / f"{name}.png")
        monkeypatch.setenv("IXC_CHROMIUM", str(tmp_path / "chromium"))

    return write


def test_a_browser_that_prints_nothing_does_not_pass_on_the_document_before(program, monkeypatch):
    program("chromium", PRINTS_ONCE)
    monkeypatch.setattr(other_programs, "found_programs", lambda: ("chromium",))
    with pytest.raises(SettingsError, match=r"chromium could not print a document \(no \.png came\)"):
        other_programs.make_printed_tasks(2, SEED)


def test_an_office_that_loads_nothing_but_ends_well_is_named(program, monkeypatch):
    program("soffice", LOADS_ONCE)
    program("pdftoppm", MAKES_A_PICTURE)
    monkeypatch.setattr(other_programs, "found_programs", lambda: ("libreoffice",))
    with pytest.raises(SettingsError, match=r"soffice could not print a document \(no \.pdf came\)"):
        other_programs.make_printed_tasks(2, SEED)


@pytest.mark.parametrize(
    ("picture", "words"),
    [(Image.new("RGB", (200, 100), "white"), "its picture is blank"), (b"\x89PNG", "its picture is damaged")],
)
def test_a_picture_with_nothing_on_it_is_none(program, monkeypatch, tmp_path, picture, words):
    program("chromium", PRINTS_ONCE, picture if isinstance(picture, Image.Image) else None)
    if isinstance(picture, bytes):
        (tmp_path / "chromium.png").write_bytes(picture)
    monkeypatch.setattr(other_programs, "found_programs", lambda: ("chromium",))
    with pytest.raises(SettingsError, match=words):
        other_programs.make_printed_tasks(1, SEED)


def test_without_other_programs_there_are_no_documents_of_theirs(monkeypatch):
    monkeypatch.delenv("IXC_CHROMIUM", raising=False)
    monkeypatch.setattr(other_programs.shutil, "which", lambda _: None)
    monkeypatch.setattr(other_programs.importlib.util, "find_spec", lambda _: None)
    assert other_programs.found_programs() == ()
    assert other_programs.make_printed_tasks(3, SEED) == []


@pytest.mark.parametrize("program", other_programs.found_programs())
def test_other_programs_print_what_is_asked_about(monkeypatch, program):
    """Nothing of the answer can be checked without reading it; but two seeds give two pictures, cut to what is on them."""
    monkeypatch.setattr(other_programs, "found_programs", lambda: (program,))
    first, second = other_programs.make_printed_tasks(2, SEED)
    assert (first.group, first.answer) != (first.group, second.answer)
    assert first.file != second.file
    for task in (first, second):
        picture = Image.open(io.BytesIO(task.file)).convert("L")
        assert picture.size == (task.size_px.width, task.size_px.height)
        assert min(picture.size) > 60
        assert picture.getextrema()[0] < 100


@pytest.mark.skipif("libreoffice" not in other_programs.found_programs(), reason="LibreOffice and poppler are not installed")
@pytest.mark.parametrize("seed", range(3))
def test_a_spreadsheet_shows_what_was_typed_into_it(tmp_path, seed):
    """pdftotext reads the printed sheet: a price that lost its last zero there was once asked for with it."""
    rng = np.random.default_rng(seed)
    records = (other_programs._draw_record(rng, "libreoffice", 0) for _ in range(99))
    record = next(each for each in records if any("." in item.text for row in each.sheet.rows for item in row))
    other_programs._print_by_libreoffice(tmp_path, rng, record)
    shown = subprocess.run(["pdftotext", "-layout", tmp_path / "sheet.pdf", "-"], capture_output=True, text=True, check=True)
    words = shown.stdout.split()
    missing = [item.text for row in record.sheet.rows for item in row if not set(item.text.split()) <= set(words)]
    assert missing == []


def test_a_program_that_fails_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("IXC_CHROMIUM", str(tmp_path / "chromium"))
    monkeypatch.setattr(other_programs, "found_programs", lambda: ("chromium",))
    with pytest.raises(SettingsError, match="chromium could not print"):
        other_programs.make_printed_tasks(1, SEED)
