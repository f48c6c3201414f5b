"""Which texts belong together: the pairs must be those that the questions are about, and the loss that of finding them."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from ixc.training.attention import fast_attention, watching
from ixc.training.bindings import Binding, bindings_of, bound_tokens, naming_tokens, ways_to
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
            heading = next(h for h in _headings(paper) if text.startswith(h, each.name))
            assert each.named_by == each.name + len(heading) // 2
            assert not each.is_beside
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
                if text.startswith(name, each.name) and text[: each.glyph + 1].endswith(value)
            )
            assert each.named_by == each.name + len(name) // 2
            box, name_box = (paper.document.glyphs().boxes[glyph] for glyph in (each.first, each.name))
            assert each.is_beside == (min(box[3], name_box[3]) > max(box[1], name_box[1]))  # as high as each other
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
            assert each.name < each.named_by < each.glyph == each.first
            assert each.is_beside
            assert boxes[each.named_by, 2] < price.boxes()[0, 0]
    others = set(KINDS) - {"receipt", "invoice", "table", *CHARTS}
    assert not any(bindings_of(paper) for kind in others for paper in _papers(fonts, kind, 5))


def test_of_two_tokens_the_later_one_looks_and_characters_that_no_token_shows_do_not_count():
    places = Places(np.array([7, 3, NOWHERE, 7]), np.zeros(4, int))
    pairs = [Binding(0, 1, 0, 1, value=2.5), Binding(1, 0, 1, 0), Binding(0, 2, 0, 2), Binding(2, 1, 2, 1), Binding(0, 3, 0, 3)]
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
    # Of the first text, 0, the last character, 3, is bound to its name's middle, 1; the name of the other one is not seen.
    pairs, said = [Binding(3, 1, 0, 1, value=2.5), Binding(1, 2, 1, 2)], [NOWHERE, 1, 0, 3, 0]
    ways = ways_to(pairs, "chart value", said)
    assert ways == [NOWHERE, 1, 0, NOWHERE, 0]
    assert naming_tokens(pairs, places, said, ways).tolist() == [NOWHERE, NOWHERE, 3, NOWHERE, 3]
    assert naming_tokens((), places, [0, 1], ways_to((), "chart value", [0, 1])).tolist() == [NOWHERE, NOWHERE]


def test_beside_its_name_a_text_is_found_without_a_detour():
    assert ways_to([Binding(3, 1, 0, 1, is_beside=True)], "table cell", [0, 1, 3]) == [NOWHERE] * 3
    assert ways_to([Binding(3, 1, 0, 1)], "table row", [0, 1, 3]) == [NOWHERE] * 3  # beside the cell before


def test_before_the_highest_is_named_its_value_is_looked_at_where_it_is_known():
    """With the name, where that comes later; a question for the value of a name does not ask which one."""
    beside, below = Binding(1, 4, 0, 3, True, 70.0), Binding(6, 8, 5, 7, False, 80.0)
    said = [NOWHERE, 3, 4, NOWHERE, 7, 5]
    places = Places(np.array([20, 21, 22, 10, 11, 30, 31, 40, 41]), np.zeros(9, int))
    ways = ways_to([beside, below], "chart extreme", said)
    assert ways == [NOWHERE, 0, NOWHERE, NOWHERE, 1, 1]
    assert naming_tokens([beside, below], places, said, ways).tolist() == [NOWHERE, 21, NOWHERE, NOWHERE, 41, 41]
    assert ways_to([beside, below], "chart value", said) == [NOWHERE] * 5 + [1]


def test_what_is_bound_in_a_lesson_shows_a_value_and_the_middle_of_its_name(tiny_config, tmp_path):
    """Oracle: the codes of both tokens, read back by the codebook."""
    kinds = dict.fromkeys(KINDS, 0.0) | {"bar chart": 1.0, "line chart": 1.0}
    language = dataclasses.replace(tiny_config.language, noise=0.0, slot_dropout=0.0, tokens_per_batch=4096, kind_weights=kinds)
    model = {**tiny_config.model, "hidden_size": 192}
    kit = Kit.make(dataclasses.replace(tiny_config, language=language, model=model), tmp_path)
    num = num_named = num_highest = 0
    for step in range(12):
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
            conversation = kit.processor.tokenizer.decode(batch["input_ids"][row])
            said = kit.processor.tokenizer.decode(batch["input_ids"][row, : position + 1])
            answer = said.rsplit("\n", 1)[1] + conversation[len(said) :].split("[", 1)[0]  # up to the turn's end
            name, value = answer.rsplit(" ", 1)
            seen = _read(kit, shown[row, int(batch["naming_tokens"][row, position])])
            if said.endswith("\n" + name[0]):  # the highest's first letter
                assert value[-1] in seen or name[len(name) // 2] in seen, (answer, seen)
                num_highest += 1
            else:
                assert said.endswith(f"\n{name} {value[0]}")
                assert name[len(name) // 2] in seen, (answer, seen)
                num_named += 1
    assert num > 20
    assert num_named > 20
    assert num_highest > 5


def _read(kit, code):
    return [CHARACTERS[int(index) - 1] for index in kit.codebook.logits(code).argmax(-1) if index]


@pytest.mark.parametrize("stage_class", [LanguageStage, JointStage])
def test_both_stages_teach_it(tiny_config, tmp_path, stage_class):
    """The last heads of two layers after the early pointing one: with only so many layers the model has those to teach."""
    weights = {"binding_weight": 0.5, "value_weight": 0.5, "kind_weights": dict.fromkeys(KINDS, 0.0) | {"line chart": 1.0}}
    stages = {name: dataclasses.replace(getattr(tiny_config, name), **weights) for name in ("language", "joint")}
    model = {**tiny_config.model, "num_hidden_layers": binding_layer(6) + 2}
    kit = Kit.make(dataclasses.replace(tiny_config, model=model, **stages), tmp_path)
    stage = stage_class(kit)
    names = ("bound_tokens", "naming_tokens")
    batch = next(each for each in map(stage.make_batch, range(20)) if all((each[name] >= 0).any() for name in names))
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
