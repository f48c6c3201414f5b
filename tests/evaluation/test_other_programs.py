"""What documents printed by other programs need is named part by part, so that a mixture without some of them is noticed."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from ixc.errors import SettingsError
from ixc.evaluation import other_programs

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
