"""Texts, layouts and paint: what a seed draws, and whether the boxes say where the characters are."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from ixc.errors import SettingsError
from ixc.imaging.decode import decode_image
from ixc.settings import ImageLimits
from ixc.tiling import SizePx
from ixc.training import fonts as font_lists
from ixc.training.layout import Document, Finish, TextLine, lay_out_page, lay_out_sign
from ixc.training.painting import paint, paint_file, paint_squashed
from ixc.training.wording import CHARACTERS, Split, random_text, split_of


def rng(seed):
    return np.random.default_rng(seed)


def test_training_and_test_texts_never_coincide():
    generator = rng(1)
    drawn = {split: {random_text(generator, split) for _ in range(400)} for split in Split}
    folded = {split: {"".join(text.casefold().split()) for text in texts} for split, texts in drawn.items()}
    assert not folded[Split.TRAINING] & folded[Split.TEST]
    assert split_of("Fire Exit") == split_of("FIRE  EXIT") == split_of("fireexit")


def test_texts_keep_to_the_character_set_and_length():
    generator = rng(2)
    texts = [random_text(generator, Split.TRAINING, max_chars=18) for _ in range(500)]
    assert set("".join(texts)) <= set(CHARACTERS)
    assert all(2 <= len(text) <= 18 for text in texts)
    assert len(set(texts)) > 450


@pytest.mark.parametrize("seed", range(4))
def test_a_seed_draws_the_same_picture_every_time(fonts, seed):
    first, second = (paint(lay_out_sign(rng(seed), fonts, Split.TRAINING)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first.shape, paint(lay_out_sign(rng(seed + 100), fonts, Split.TRAINING)).shape)


@pytest.mark.parametrize("seed", range(30))
def test_ink_is_in_the_boxes_columns_and_every_character_has_some(fonts, seed):
    sign = lay_out_sign(rng(seed), fonts, Split.TRAINING)
    line = dataclasses.replace(sign.lines[0], plate=None)
    plain = dataclasses.replace(sign, lines=(line,), frame_px=0, finish=Finish())
    is_ink = (paint(plain) != np.array(plain.background)).any(-1)
    in_columns = np.zeros(is_ink.shape[1], bool)
    boxes = plain.glyphs().boxes
    for char, (left, _, right, _) in zip(plain.text, boxes, strict=True):
        columns = slice(max(0, int(left) - 1), int(right) + 2)
        in_columns[columns] = True
        assert is_ink[:, columns].any() or char == " "
    assert is_ink.any()
    assert not (is_ink.any(0) & ~in_columns).any()
    assert np.ptp(boxes[:, 1]) == np.ptp(boxes[:, 3]) == 0, "a line's characters have their centres on one height"


def test_boxes_are_where_a_hand_drawn_line_has_them(fonts):
    """Oracle: Pillow's own measure of the text in front of each character."""
    line = TextLine("Exit 7", fonts[0], 40, 10.0, 60.0, (0, 0, 0))
    face = ImageFont.load_default(40)
    for index, (left, _, right, _) in enumerate(line.boxes()):
        assert 10 + face.getlength(line.text[:index]) - 3 <= left <= right <= 10 + face.getlength(line.text[: index + 1]) + 3


def test_a_sign_can_be_read_in_one_view(fonts):
    for seed in range(200):
        sign = lay_out_sign(rng(seed), fonts, Split.TRAINING)
        boxes = sign.glyphs().boxes
        scale = 336 / max(sign.size_px.height, sign.size_px.width)
        assert (boxes[-1, 2] - boxes[0, 0]) * scale / len(sign.text) > 6
        assert boxes[:, :2].min() >= -2
        assert (boxes[:, 2] <= sign.size_px.width + 2).all()
        assert (boxes[:, 3] <= sign.size_px.height + 2).all()


def test_pages_are_dense_and_squashed_to_the_view(fonts):
    pages = [lay_out_page(rng(seed), fonts, (9, 20)) for seed in range(10)]
    assert paint_squashed(pages[0], 336).shape == (336, 336, 3)
    assert np.mean([len(page.characters()) for page in pages]) > 60


def test_finish_gradient_and_jpeg_change_pixels_only_a_little():
    bare = Document(SizePx(40, 90), (200, 180, 160), (), "")
    finished = dataclasses.replace(bare, finish=Finish(gradient=10, noise=2, blur_px=0.5, jpeg_quality=80, seed=3))
    difference = np.abs(paint(finished).astype(int) - paint(bare))
    assert 0 < difference.max() <= 30
    assert Image.fromarray(paint(bare)).getcolors() == [(3600, (200, 180, 160))]


def test_missing_fonts_name_the_packages_to_install(tmp_path):
    (tmp_path / "here.ttf").touch()
    table = {"fonts-here": ("here.ttf",), "fonts-absent": ("a.ttf", "b.ttf")}
    with pytest.raises(SettingsError, match=r"apt-get install --no-install-recommends fonts-absent$"):
        font_lists._found(table, tmp_path)


def test_no_held_out_family_is_in_training():
    assert not set(font_lists._TRAINING) & set(font_lists._HELD_OUT)
    assert set(font_lists.PACKAGES) == {*font_lists._TRAINING, *font_lists._HELD_OUT}


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_photo_is_upright_for_training_and_for_the_app(fonts, orientation):
    """Oracle: the app's own decoder; and the stored pixels, turned back by hand."""
    quarter_turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    document = lay_out_sign(np.random.default_rng(8), fonts, Split.TRAINING)
    document = dataclasses.replace(document, finish=Finish(jpeg_quality=90, orientation=orientation))
    file = paint_file(document)
    upright = paint(document)
    assert upright.shape[:2] == (document.size_px.height, document.size_px.width)
    assert np.array_equal(decode_image(file, ImageLimits()).pixels_HWC, upright)
    assert np.array_equal(np.rot90(np.asarray(Image.open(io.BytesIO(file))), quarter_turns), upright)
