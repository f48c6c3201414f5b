"""Which texts belong together: the pairs must be those that the questions are about, and the loss that of finding them."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from ixc.training.attention import fast_attention, watching
from ixc.training.bindings import Binding, bindings_of, bound_tokens, naming_tokens
from ixc.training.conversations import KINDS, draw_paper
from ixc.training.initial_language import binding_layer, pointing_layers
from ixc.training.joint_stage import JointStage
from ixc.training.language_stage import LanguageStage
from ixc.training.pointers import NOWHERE, Places
from ixc.training.records import CHARTS
from ixc.training.stages import Kit
from ixc.training.value_sense import NO_VALUE, ValueSense
from ixc.training.wording import CHARACTERS, Split


def _papers(fonts, kind, num=25):
    return (draw_paper(np.random.default_rng([9, seed]), fonts, Split.TRAINING, kind) for seed in range(num))


def test_every_cell_belongs_to_the_heading_that_its_question_names(fonts):
    """Oracle: the answers, "row, heading: value", and that a heading stands above its cells and nowhere else."""
    for paper in _papers(fonts, "table"):
        text, boxes = paper.document.characters(), paper.document.glyphs().boxes
        expected = sorted(
            asked.question.answer.split(", ", 1)[1] for asked in paper.asked if asked.question.task == "table cell"
        )
        found = []
        for each in bindings_of(paper):
            heading = next(h for h in _headings(paper) if text[: each.named_by + 1].endswith(h))
            value = next(line.text for start, line in _lines(paper) if start == each.glyph)
            found.append(f"{heading}: {value}")
            assert boxes[each.named_by, 3] < boxes[each.glyph, 1]
            assert math.isnan(each.value)
        assert sorted(found) == expected


def _headings(paper):
    headings = {asked.question.names["col"] for asked in paper.asked if asked.question.task == "table cell"}
    return sorted(headings, key=len, reverse=True)


def _lines(paper):
    start = 0
    for line in paper.document.lines:
        yield start, line
        start += len(line.text)


@pytest.mark.parametrize("kind", CHARTS)
def test_every_value_of_a_chart_belongs_to_its_name(fonts, kind):
    for paper in _papers(fonts, kind):
        text = paper.document.characters()
        answers = {asked.question.answer for asked in paper.asked if asked.question.task == "chart value"}
        bindings = bindings_of(paper)
        assert len(bindings) == len(answers)
        for each in bindings:
            name, printed = next(
                (name, value)
                for name, value in (answer.rsplit(" ", 1) for answer in answers)
                if text[: each.named_by + 1].endswith(name) and text[: each.glyph + 1].endswith(value)
            )
            assert each.value == float(printed.rstrip("%"))
            answers.remove(f"{name} {printed}")
        assert not answers


def test_the_prices_of_a_receipt_belong_to_their_articles_and_signs_have_no_pairs(fonts):
    papers = [paper for paper in _papers(fonts, "receipt") if bindings_of(paper)]
    assert papers
    for paper in papers:
        boxes, lines = paper.document.glyphs().boxes, dict(_lines(paper))
        for each in bindings_of(paper):
            price = lines[each.glyph]
            assert each.glyph - 1 == each.named_by  # the article stands right before it
            assert boxes[each.named_by, 2] < price.boxes()[0, 0]
    others = set(KINDS) - {"receipt", "invoice", "table", *CHARTS}
    assert not any(bindings_of(paper) for kind in others for paper in _papers(fonts, kind, 5))


def test_of_two_tokens_the_later_one_looks_and_characters_that_no_token_shows_do_not_count():
    places = Places(np.array([7, 3, NOWHERE, 7]), np.zeros(4, int))
    pairs = [Binding(0, 1, 0, 2.5), Binding(1, 0, 1), Binding(0, 2, 0), Binding(2, 1, 2), Binding(0, 3, 0)]
    (later, earlier, value), (*other, unknown) = bound_tokens(pairs, places)
    assert (later, earlier, value) == (7, 3, 2.5)
    assert other == [7, 3]
    assert math.isnan(unknown)


def test_the_loss_is_that_of_naming_the_number_and_unknown_ones_do_not_count():
    sense = ValueSense(8)
    hidden_BSD, values_BS = torch.randn(1, 3, 8), torch.tensor([[NO_VALUE, 50.0, 75.0]])
    loss, metrics = sense.loss(hidden_BSD, values_BS)
    assert loss.item() == pytest.approx((4 + 9) / 2)  # in units of 25
    assert metrics == {"value_error": pytest.approx(62.5)}
    with torch.no_grad():
        sense.value.bias[:] = 2.0
    loss, metrics = sense.loss(hidden_BSD, values_BS)
    assert loss.item() == pytest.approx(1 / 2)
    assert metrics == {"value_error": pytest.approx(12.5)}
    assert sense.loss(hidden_BSD, torch.full((1, 3), NO_VALUE)) == (0, {})


def test_an_answer_that_goes_on_to_a_text_looks_at_what_names_it():
    places = Places(np.array([7, 3, NOWHERE, 7]), np.zeros(4, int))
    pairs = [Binding(3, 1, 0, 2.5), Binding(1, 2, 1)]  # of the first text the last character counts, and its name is seen
    assert naming_tokens(pairs, places, [NOWHERE, 1, 0, 3, 0]).tolist() == [NOWHERE, NOWHERE, 3, NOWHERE, 3]
    assert naming_tokens((), places, [0, 1]).tolist() == [NOWHERE, NOWHERE]


def test_what_is_bound_in_a_lesson_shows_a_value_and_the_end_of_its_name(tiny_config, tmp_path):
    """Oracle: the codes of both tokens, read back by the codebook."""
    kinds = dict.fromkeys(KINDS, 0.0) | {"bar chart": 1.0, "line chart": 1.0}
    language = dataclasses.replace(tiny_config.language, noise=0.0, slot_dropout=0.0, tokens_per_batch=4096, kind_weights=kinds)
    model = {**tiny_config.model, "hidden_size": 192}
    kit = Kit.make(dataclasses.replace(tiny_config, language=language, model=model), tmp_path)
    num = num_named = 0
    for step in range(8):
        batch = LanguageStage(kit).make_batch(step)
        shown = torch.zeros(*batch["input_ids"].shape, batch["visual"].shape[-1])
        shown[batch["input_ids"] == kit.processor.image_token_id] = batch["visual"]
        for row, position in (batch["bound_tokens"] >= 0).nonzero().tolist():
            value = float(batch["values_at"][row, position - 1])
            pair = [_read(kit, shown[row, token]) for token in (position - 1, int(batch["bound_tokens"][row, position]))]
            assert any(set(text) & set(f"{value:g}") for text in pair), (pair, value)
            assert any(char.isalpha() for text in pair for char in text), pair
            num += 1
        for row, position in (batch["naming_tokens"] >= 0).nonzero().tolist():
            said = kit.processor.tokenizer.decode(batch["input_ids"][row, : position + 1][-40:])
            name, value = said.rsplit(" ", 1)  # "Berlin 4" is said when the value's first character is
            assert len(value) == 1
            assert name[-1] in _read(kit, shown[row, int(batch["naming_tokens"][row, position])])
            num_named += 1
    assert num > 20
    assert num_named > 20


def _read(kit, code):
    return [CHARACTERS[int(index) - 1] for index in kit.codebook.logits(code).argmax(-1) if index]


@pytest.mark.parametrize("stage_class", [LanguageStage, JointStage])
def test_both_stages_teach_it(tiny_config, tmp_path, stage_class):
    """The last heads of two layers after the early pointing one: with only so many layers the model has those to teach."""
    weights = {"binding_weight": 0.5, "value_weight": 0.5, "kind_weights": dict.fromkeys(KINDS, 0.0) | {"bar chart": 1.0}}
    stages = {name: dataclasses.replace(getattr(tiny_config, name), **weights) for name in ("language", "joint")}
    model = {**tiny_config.model, "num_hidden_layers": binding_layer(6) + 2}
    kit = Kit.make(dataclasses.replace(tiny_config, model=model, **stages), tmp_path)
    stage = stage_class(kit)
    batch = next(each for each in map(stage.make_batch, range(9)) if (each["bound_tokens"] >= 0).any())
    with fast_attention(kit.model.train()):
        loss, metrics = stage.loss(batch)
    loss.backward()
    assert set(metrics) >= {"bound_right", "naming_right", "value_error"}
    assert stage.extra.values.value.bias.grad.abs().sum() > 0


def test_the_binding_head_is_the_last_one_of_the_layer_after_the_early_pointing_one(make_kit):
    assert [binding_layer(num) for num in (6, 8)] == [3, 4]
    assert all(early < binding_layer(num) < late for num in (6, 8, 12) for early, late in [pointing_layers(num)])
    with watching(binding_layer(6)) as seen:
        pass
    assert seen == {binding_layer(6): None}
