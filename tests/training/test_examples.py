"""The example images: described, in their promised sizes, and drawn by the code that says so."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ixc.tiling import NAMED_BUDGETS, SizePx, plan_tiles, suggest_max_patches
from ixc.training.examples import drawing
from ixc.training.examples.catalogue import EXAMPLES, MANIFEST, manifest_text
from ixc.training.examples.chart import draw_chart
from ixc.training.examples.delivery import draw_delivery
from ixc.training.examples.receipt import CASH_CENTS, GOODS, total_cents
from ixc.training.examples.signs import draw_label, draw_sign

FOLDER = Path(__file__).parents[2] / "assets" / "examples"
ENTRIES = json.loads((FOLDER / MANIFEST).read_text(encoding="utf-8"))
SIZES_PX = {  # width, height
    "sign.png": (900, 300),
    "label.png": (900, 300),
    "delivery.png": (2000, 1334),
    "menu.png": (1200, 1200),
    "boarding_pass.png": (1500, 900),
    "receipt.jpg": (1200, 2400),
    "poster.webp": (3840, 2160),
    "infographic.webp": (816, 5133),
    "chart.png": (1280, 800),
    "paper.png": (2550, 3300),
    "spreadsheet.png": (1920, 1200),
}
# Debian's fonts of the bookworm release, with which the pictures were drawn. Another release may draw other pixels.
FONTS_SHA256 = {
    "sans": "f8ace1f892b2bd9dc1792ba7f097fa7588f84fed48321480e04de5390828221f",
    "sans-bold": "361c61b82d575c5c35fd9157fda8b0194bcfcd0d88ea8521a4fb5dd53d33dddc",
    "sign": "0d977336a6d5fba34eab8e3199eb218327161b5143749f802982c2bc34df0c96",
    "sign-serif": "e2fd85eba2de65ac270d1cdb1685e252eb827f600850cf62af2d20c41b22e945",
}
KEYS = {"file", "title_en", "title_zh", "question_en", "question_zh", "max_patches", "alt_en", "alt_zh", "for_small"}


def has_the_fonts():
    paths = {role: drawing.FONT_FOLDER / drawing.FONT_FILES[role] for role in FONTS_SHA256}
    return all(p.is_file() and hashlib.sha256(p.read_bytes()).hexdigest() == FONTS_SHA256[role] for role, p in paths.items())


needs_fonts = pytest.mark.skipif(
    not has_the_fonts(), reason="needs the Debian packages fonts-dejavu-core and fonts-liberation, as of bookworm"
)


def test_the_manifest_is_what_the_catalogue_writes():
    assert (FOLDER / MANIFEST).read_text(encoding="utf-8") == manifest_text()


def test_the_manifest_names_every_picture_once():
    assert [entry["file"] for entry in ENTRIES] == list(SIZES_PX)
    assert {path.name for path in FOLDER.iterdir()} == {*SIZES_PX, MANIFEST}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_an_entry_is_complete(entry):
    assert set(entry) == KEYS
    assert all(entry[key].strip() == entry[key] != "" for key in KEYS - {"max_patches", "for_small"})
    for key in ("title", "question", "alt"):
        assert any("\u4e00" <= letter <= "\u9fff" for letter in entry[f"{key}_zh"]), "the Chinese text has no Chinese"
        assert entry[f"{key}_en"].isascii()
    assert entry["question_en"].endswith("?")
    assert entry["question_zh"][-1] in "？。"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_a_picture_has_its_size_and_a_budget_that_fits(entry):
    with Image.open(FOLDER / entry["file"]) as image:
        assert image.size == SIZES_PX[entry["file"]]
        size = SizePx(height=image.height, width=image.width)
    budget = entry["max_patches"]
    assert budget in NAMED_BUDGETS or budget == suggest_max_patches(size)
    # Print of twenty pixels stays legible down to about two thirds.
    assert plan_tiles(size, budget).scale_factor > 0.66


def test_all_pictures_together_stay_light():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 4 * 1024 * 1024


def test_the_receipt_adds_up():
    """By hand: 4.20 + 11.30 + 6.90 + 4.35 + 3.10 + 2.40 + 3.85 + 3.90 + 3.30 + 11.00 + 1.00 + 6.60 + 0.20."""
    assert len(GOODS) == 13
    assert total_cents() == 6210
    assert CASH_CENTS - total_cents() == 790


@needs_fonts
@pytest.mark.parametrize(
    ("name", "draw"),
    [("sign.png", draw_sign), ("label.png", draw_label), ("delivery.png", draw_delivery), ("chart.png", draw_chart)],
    ids=["sign", "label", "delivery note", "chart"],
)
def test_drawing_again_gives_the_same_pixels(name, draw):
    with Image.open(FOLDER / name) as stored:
        assert np.array_equal(np.asarray(stored), np.asarray(draw()))


def test_a_missing_font_says_what_to_install(monkeypatch):
    monkeypatch.setitem(drawing.FONT_FILES, "missing", "nowhere/no-such-font.ttf")
    with pytest.raises(drawing.FontsMissing, match="fonts-dejavu-core and fonts-liberation"):
        drawing.font("missing", 20)


def test_each_picture_is_drawn_once():
    files = [example.file for example, _ in EXAMPLES]
    assert len(files) == len(set(files)) == len({draw for _, draw in EXAMPLES})
