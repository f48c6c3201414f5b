"""Where answers are read from: the characters named must be the answer's own, and the tokens named must show them."""

import dataclasses

import numpy as np
import pytest
import torch

from ixc.training.attention import Attended, fast_attention, watching
from ixc.training.cells import MARK, MARK_COLOURS, MARK_FORMS
from ixc.training.conversations import KINDS, draw_paper
from ixc.training.fixed_answers import FIXED_ANSWERS
from ixc.training.initial_language import pointing_layers
from ixc.training.joint_stage import JointStage
from ixc.training.language_stage import LanguageStage
from ixc.training.layout import TextLine
from ixc.training.lessons import NO_LABEL, LessonIds, draw_lesson
from ixc.training.pointers import NOWHERE, answer_glyphs, pointing_loss
from ixc.training.stages import Kit
from ixc.training.wording import CHARACTERS, Split
from tests.training.conftest import CountedOperations


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("shapes", "photograph")])
def test_an_answer_is_found_in_its_document_character_by_character(fonts, kind):
    num_found = num_characters = 0
    for seed in range(20):
        paper = draw_paper(np.random.default_rng([7, seed]), fonts, Split.TRAINING, kind)
        text = paper.document.characters()
        for asked in paper.asked:
            if asked.question.task in FIXED_ANSWERS:
                continue
            answer = asked.question.answer
            glyphs = answer_glyphs(answer, paper.document, asked.lines)
            assert all(text[glyph] == char for glyph, char in zip(glyphs, answer, strict=True) if glyph != NOWHERE)
            written = [glyph for glyph, char in zip(glyphs, answer, strict=True) if char not in " ,:"]
            num_found += sum(glyph != NOWHERE for glyph in written)
            num_characters += len(written)
    assert num_found == num_characters


def test_of_equal_texts_the_needed_one_is_read_and_its_label_is_the_nearest(fonts):
    texts = [("Total", 10.0), ("5.00", 10.0), ("Total", 50.0), ("5.00", 50.0), ("5.00", 90.0)]
    lines = [TextLine(text, fonts[0], 20, 0.0, height, (0, 0, 0)) for text, height in texts]
    document = draw_paper(np.random.default_rng(1), fonts, Split.TRAINING, "notice").document
    document = dataclasses.replace(document, lines=tuple(lines))
    #                                          Total 5.00 Total
    assert answer_glyphs("Total 5.00", document, (3,)) == [9, 10, 11, 12, 13, NOWHERE, 14, 15, 16, 17]
    assert answer_glyphs("Totals", document, (3,)) == [NOWHERE] * 6
    assert answer_glyphs("Total", document, ()) == [NOWHERE] * 5


@pytest.fixture
def kit(tiny_config, tmp_path):
    """Codes without noise and wide enough to be read back."""
    language = dataclasses.replace(tiny_config.language, noise=0.0, slot_dropout=0.0, pointing_weight=1.0)
    model = {**tiny_config.model, "hidden_size": 192}
    return Kit.make(dataclasses.replace(tiny_config, language=language, model=model), tmp_path)


@pytest.mark.parametrize("is_short", [True, False])
def test_what_is_pointed_at_shows_what_is_said(kit, is_short):
    """Oracle: the code there, read back by the codebook, is the label's character."""
    stage = LanguageStage(kit)
    stage.config = dataclasses.replace(stage.config, num_short_steps=100 * is_short, short_share=0.0)
    num = 0
    for step in range(12):
        batch = stage.make_batch(step)
        shown = torch.zeros(*batch["input_ids"].shape, batch["visual"].shape[-1])
        shown[batch["input_ids"] == kit.processor.image_token_id] = batch["visual"]
        for row, position in (batch["pointed_tokens"] >= 0).nonzero().tolist():
            token, slot = batch["pointed_tokens"][row, position], batch["pointed_heads"][row, position]
            read = int(kit.codebook.logits(shown[row, token])[slot].argmax())
            piece = kit.processor.tokenizer.convert_ids_to_tokens(int(batch["labels"][row, position]))
            if read >= MARK:  # a colour's first letter is read from the shape
                assert piece == MARK_COLOURS[(read - MARK) // len(MARK_FORMS)][0].upper()
                continue
            assert CHARACTERS[read - 1] == piece.replace("\u2581", " ")
            num += 1
    assert num > 50


def test_painted_lessons_point_at_the_same_characters(kit):
    """Oracle: the targets of the views that were painted, laid out by hand as the model lays them out."""
    num = 0
    for step in range(6):
        batch = JointStage(kit).make_batch(step)
        if "tiles" not in batch:
            continue
        rows, cols = batch["grid"]
        targets = batch["targets"].unflatten(0, (-1, rows * cols + 1))
        for row, position in (batch["pointed_tokens"] >= 0).nonzero().tolist():
            token = int(batch["pointed_tokens"][row, position]) - batch["spans"].rows[row][0][0]
            if token < 156:
                view, cell_row, cell_col = 0, token // 13, token % 13
            else:
                map_row, map_col = divmod(token - 157, 12 * cols + 1)
                view, cell_row, cell_col = 1 + map_row // 12 * cols + map_col // 12, map_row % 12, map_col % 12
            read = int(targets[row, view, cell_row, cell_col, batch["pointed_heads"][row, position]])
            piece = kit.processor.tokenizer.convert_ids_to_tokens(int(batch["labels"][row, position]))
            assert CHARACTERS[read - 1] == piece.replace("\u2581", " ")
            num += 1
    assert num > 20


def test_the_loss_is_the_heads_distance_from_looking_there():
    """Oracle: a softmax over the keys up to the asking token, written out."""
    torch.manual_seed(0)
    attended = Attended(torch.randn(2, 3, 6, 4), torch.randn(2, 3, 6, 4))
    tokens, heads = torch.full((2, 6), NOWHERE), torch.full((2, 6), NOWHERE)
    tokens[0, 4], heads[0, 4] = 1, 2
    tokens[1, 3], heads[1, 3] = 0, 0
    tokens[1, 5], heads[1, 5] = 4, 1
    weights = torch.rand(2, 6)
    expected = []
    for row, position in ((0, 4), (1, 3), (1, 5)):
        head = heads[row, position]
        scores = torch.stack(
            [attended.query[row, head, position - 1] @ attended.key[row, head, key] for key in range(position)]
        )
        expected.append(-torch.log(torch.softmax(scores, 0)[tokens[row, position]]) * weights[row, position])
    loss, right = pointing_loss(attended, tokens, heads, weights)
    torch.testing.assert_close(loss, sum(expected) / (weights[0, 4] + weights[1, 3] + weights[1, 5]))
    assert right in (0, 1 / 3, 2 / 3, 1)
    nothing, right = pointing_loss(attended, torch.full((2, 6), NOWHERE), heads, weights)
    assert nothing == 0
    assert right is None


def test_more_texts_are_not_waited_for_more_often():
    """On a GPU every number that Python asks for, and every search for what is pointed at, waits for all that was computed."""

    def num_waits(num_rows):
        attended = Attended(torch.randn(num_rows, 3, 6, 4), torch.randn(num_rows, 3, 6, 4))
        tokens = torch.full((num_rows, 6), NOWHERE)
        tokens[:, 4:] = 1
        with CountedOperations() as counted:
            pointing_loss(attended, tokens, tokens.clamp(0, 2), torch.ones(num_rows, 6))
        return sum(counted.names[name] for name in ("nonzero", "_local_scalar_dense", "item"))

    assert num_waits(2) == num_waits(12) < 4


def test_only_the_watched_layer_is_kept_and_only_inside(kit):
    embeds = torch.randn(2, 5, 192)
    with fast_attention(kit.model.train()):
        with watching(0) as seen, watching(*pointing_layers(1)) as seen_inside:
            kit.model.model(inputs_embeds=embeds)
        assert seen == {0: None}  # the inner one counts
        assert seen_inside == dict.fromkeys((2, 4))  # the model has one layer only
        with watching(0) as seen:
            kit.model.model(inputs_embeds=embeds)
        first = seen[0]
        assert (first.query.shape[0], first.query.shape[2], first.key.shape[2]) == (2, 5, 5)
        kit.model.model(inputs_embeds=embeds)
        assert seen == {0: first}


def test_a_deeper_model_points_with_the_layers_that_did_so_before_it_was_deepened():
    assert pointing_layers(6) == (2, 4)
    assert pointing_layers(8) == (3, 6)  # new: 1, before both, and 5, between them
    assert pointing_layers(12) == (4, 8)


def test_the_early_layer_is_not_taught_to_look_where_something_else_leads(tiny_config, tmp_path):
    """Oracle: with every pointed token reached by way of another, only the late layer has a figure."""
    config = dataclasses.replace(tiny_config, model={**tiny_config.model, "num_hidden_layers": 6})
    kit = Kit.make(config, tmp_path)
    stage = LanguageStage(kit)
    stage.config = dataclasses.replace(stage.config, pointing_weight=1.0)
    batch = next(each for each in map(stage.make_batch, range(20)) if (each["pointed_tokens"] >= 0).any())
    early, late = (f"pointed_right_{layer}" for layer in pointing_layers(6))
    with fast_attention(kit.model.train()):
        assert {early, late} <= set(stage.loss(batch)[1])
        figures = set(stage.loss({**batch, "naming_tokens": batch["pointed_tokens"]})[1])
    assert late in figures
    assert early not in figures


def test_a_colour_is_read_from_the_shape_that_has_it(kit):
    """Oracle: the boxes of the shapes, in the document's pixels, and the place of the token pointed at."""
    kinds = dict.fromkeys(KINDS, 0.0) | {"shapes": 1.0}
    num = 0
    for seed in range(20):
        lesson = draw_lesson(np.random.default_rng([21, seed]), (), [4], kinds=kinds)
        if lesson.document is None:
            continue
        figures = lesson.document.figures
        for exchange in lesson.exchanges:
            if exchange.task != "shapes" or exchange.answer.isdigit():
                continue
            ids = LessonIds.of(dataclasses.replace(lesson, exchanges=(exchange,)), kit.processor)
            first, *others = (glyph for glyph, label in zip(ids.glyphs, ids.labels, strict=True) if label != NO_LABEL)
            assert figures[first].mark[0].capitalize() == exchange.answer  # there is no text before the shapes
            assert figures[first].mark[1] in exchange.question
            assert set(others) == {NOWHERE}
            num += 1
    assert num > 10
