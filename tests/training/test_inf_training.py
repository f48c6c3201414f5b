"""The small INF-LLaVA's training: what it takes over from ixc-nano, its lessons, and a run of few steps that is resumed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ixc.chat.loading import load_engine
from ixc.conversation import LLAMA3_CHAT, ImageView, Turn
from ixc.dual_perspective import DualPerspectivePlan
from ixc.errors import SettingsError
from ixc.image_layout import LayoutKind
from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.settings import Settings
from ixc.tiling import SizePx
from ixc.training.asking import TOO_SMALL, TOO_SMALL_AT_336
from ixc.training.cells import Glyphs, classes_of
from ixc.training.conversations import Exchange, draw_paper
from ixc.training.inf_config import load_inf_config
from ixc.training.inf_lessons import (
    as_seen,
    draw_inf_lesson,
    lesson_ids,
    refusal,
    token_places,
    token_targets,
    views_of_padding,
)
from ixc.training.inf_llava import InfKit, LessonStage, VisionStage, main
from ixc.training.lessons import NO_LABEL, Lesson
from ixc.training.loop import train_stage
from ixc.training.pointers import NOWHERE
from ixc.training.wording import CHARACTERS, Split

ROOT = Path(__file__).parents[2]
NANO = ROOT / "assets" / "models" / "ixc-nano"
CONFIG = ROOT / "ixc" / "training" / "configs" / "inf_nano.yaml"


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    raw = yaml.safe_load(CONFIG.read_text())
    raw["start_from"] = str(NANO)
    for stage in ("vision", "lessons"):
        raw[stage] |= {"num_steps": 2, "num_warmup": 1, "batch_size": 2, "num_threads": 1}
    path = tmp_path_factory.mktemp("config") / "inf.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture(scope="module")
def kit(config_file):
    return InfKit.make(load_inf_config(config_file))


def test_tower_and_language_model_begin_as_nanos(config_file):
    """Under other names the same weights must compute the same."""
    nano = XComposer2ForCausalLM.from_pretrained(NANO, dtype=torch.float32).eval()
    model = InfKit.make(load_inf_config(config_file)).model.eval()
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(1, 3, 336, 336, generator=generator)
    embeds = torch.randn(1, 20, nano.config.hidden_size, generator=generator)
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_views(views), nano.vit(views), rtol=1e-3, atol=1e-3)
        ours, theirs = (each.model(inputs_embeds=embeds).last_hidden_state for each in (model, nano))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_targets_are_the_characters_in_each_tokens_part_of_the_square():
    """A 240x240 picture: each of the 24x24 tokens stands for 10x10 of its pixels."""
    boxes = np.array([[12, 23, 18, 27], [232, 1, 238, 9]], np.float32)  # centres (15, 25) and (235, 5)
    glyphs = Glyphs(classes_of("AZ"), boxes, np.full((2, 2), 10, np.float32))
    targets = token_targets(glyphs, DualPerspectivePlan(SizePx(240, 240)), 3)
    assert targets[2, 1, 0] == classes_of("A")[0]
    assert targets[0, 23, 0] == classes_of("Z")[0]
    assert (targets > 0).sum() == 2
    places = token_places(glyphs, DualPerspectivePlan(SizePx(240, 240)), 3)
    assert places.tokens.tolist() == [2 * 24 + 1, 23]
    assert places.slots.tolist() == [0, 0]
    # In a picture half as high the same places lie a quarter of the square lower.
    padded = token_targets(glyphs, DualPerspectivePlan(SizePx(120, 240)), 3)
    assert padded[2 + 6, 1, 0] == classes_of("A")[0]


@pytest.mark.parametrize(
    ("font_px", "input_px", "is_read"),
    [
        # A square of 1008 px: at 336 a character needs 14 of 336, that is 42; at 1008 half a token, that is 21.
        (43, 336, True),
        (41, 336, False),
        (22, 1008, True),
        (20, 1008, False),
        # A character as wide as a third of the square is too large for any view; a fifth is not.
        (200, 1008, True),
        (330, 1008, False),
    ],
)
def test_what_can_be_read_at_an_input(font_px, input_px, is_read):
    box = np.array([[500, 500, 500 + font_px, 500 + font_px]], np.float32)
    glyphs = Glyphs(classes_of("A"), box, np.full((1, 2), font_px, np.float32))
    plan = DualPerspectivePlan(SizePx(1008, 600), input_px)
    assert (token_places(glyphs, plan, 3).tokens[0] != NOWHERE) == is_read
    assert (classes_of("A")[0] in token_targets(glyphs, plan, 3)) == is_read


def test_small_type_is_refused_at_336_pixels_and_read_at_1008(fonts):
    """By hand: with the smallest asked text at 9 px of 336 it is 27 px of 1008; at 6 px it is 18 of 1008, too small in both."""
    assert refusal(SizePx(336, 300), 9.0, 336) == TOO_SMALL_AT_336
    assert refusal(SizePx(336, 300), 6.0, 336) == refusal(SizePx(336, 300), 6.0, 1008) == TOO_SMALL
    rng = np.random.default_rng(3)
    paper = draw_paper(rng, fonts, Split.TRAINING, "receipt")
    side = round(paper.smallest_px * 336 / 9)
    paper = dataclasses.replace(paper, document=dataclasses.replace(paper.document, size_px=SizePx(side, side)))
    small, large = (as_seen(rng, paper, DualPerspectivePlan(SizePx(side, side), input_px)) for input_px in (336, 1008))
    tasks = [asked.question.task for asked in small.asked]
    assert tasks.count("too small") == 1
    answers = [asked.question.answer for asked in small.asked if asked.question.task == "too small"]
    assert answers == [TOO_SMALL_AT_336]
    assert [asked.question for asked in large.asked] == [asked.question for asked in paper.asked]


def test_a_lesson_is_what_the_app_prompts_with_and_every_answer_is_learned(kit, fonts):
    processor = kit.processor
    document = draw_paper(np.random.default_rng(1), fonts, Split.TRAINING, "notice").document
    exchanges = (
        Exchange("field", "Total?", "Total: 5 €"),
        Exchange("field", "And the date?", "Date 1"),
        Exchange("kind", "?", "x"),
    )
    ids = lesson_ids(Lesson(document, None, exchanges), processor)
    view = ImageView("document", 9)
    turns = [Turn(each.question, each.answer, view) for each in exchanges[:-1]]
    prompt = LLAMA3_CHAT.build_prompt("", turns, exchanges[-1].question, view)
    whole = processor.encode_parts(prompt.parts, 1) + processor.encode_part("x<|eot_id|>", 1)
    assert ids.before + [processor.image_token_id] * 576 + ids.after == whole
    learned = processor.tokenizer.decode([label for label in ids.labels if label != NO_LABEL])
    assert learned == "Total: 5 €<|eot_id|>Date 1<|eot_id|>x<|eot_id|>"
    assert all(label in (token, NO_LABEL) for label, token in zip(ids.labels, ids.after, strict=True))
    assert len(ids.glyphs) == len(ids.labels)


def test_lessons_point_at_the_token_that_shows_what_is_said(kit, fonts):
    """Oracle: the place of the painted character's centre in the padded square, computed from its box."""
    stage, num = LessonStage(kit, fonts), 0
    for step in range(3):
        batch = stage.make_batch(step)
        starts = (batch["input_ids"] == -200).int().argmax(1)
        assert batch["targets"].shape == (len(batch["squares"]), 24, 24, 3)
        shown = iter(batch["targets"])
        for row, start in enumerate(starts.tolist()):
            if not start:
                continue
            targets = next(shown)
            for position in (batch["pointed_tokens"][row] >= 0).nonzero().flatten().tolist():
                cell = divmod(int(batch["pointed_tokens"][row, position]) - start, 24)
                char = CHARACTERS[int(targets[*cell, batch["pointed_heads"][row, position]]) - 1]
                label = int(batch["labels"][row, position])
                assert label in char.encode()
                num += 1
    assert num > 20
    rng = np.random.default_rng(5)
    lesson = next(each for each in iter(lambda: draw_inf_lesson(rng, fonts, 0.5), None) if each.document)
    glyphs, side = lesson.document.glyphs(), lesson.plan.square_original_px
    found = token_places(glyphs, lesson.plan, 3).tokens
    pad = lesson.plan.padding_original_px
    for box, token in zip(glyphs.boxes, found, strict=True):
        col, row = ((box[0] + box[2]) / 2 + pad.left) * 24 / side, ((box[1] + box[3]) / 2 + pad.top) * 24 / side
        assert token in (NOWHERE, int(row) * 24 + int(col))


def test_views_of_padding_are_computed_once_and_change_nothing(kit, fonts):
    """Oracle: every view computed. A wide sign leaves the upper and the lower third of its square to the padding."""
    assert views_of_padding(DualPerspectivePlan(SizePx(100, 600))) == [True] * 3 + [False] * 3 + [True] * 3 + [False]
    stage = LessonStage(kit, fonts)
    batch = next(b for b in map(stage.make_batch, range(20)) if b["is_padding"].any() and not b["is_padding"].all())
    with torch.no_grad():
        quick = stage._encode(batch)
        whole = stage._encode({**batch, "is_padding": torch.zeros_like(batch["is_padding"])})
    torch.testing.assert_close(quick, whole, rtol=1e-3, atol=1e-3)


def test_a_run_is_resumed_and_its_model_answers(kit, config_file, tmp_path, caplog):
    before = kit.model.config._attn_implementation
    train_stage(VisionStage(kit), kit, tmp_path / "vision", num_workers=0, stop_at=1)
    assert kit.model.config._attn_implementation == before, "or it could not generate"
    assert main(["--config", str(config_file), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "vision" / "curve.json").exists()
    assert (tmp_path / "lessons" / "curve.json").exists()
    engine = load_engine(Settings(model=str(tmp_path / "model")))
    try:
        assert engine.layout.kind is LayoutKind.DUAL_PERSPECTIVE
        assert engine.default_max_patches == 9
    finally:
        engine.close()
    longer = yaml.safe_load(config_file.read_text())
    longer["vision"]["num_steps"] = 3
    (tmp_path / "longer.yaml").write_text(yaml.safe_dump(longer))
    assert main(["--config", str(tmp_path / "longer.yaml"), "--out", str(tmp_path)]) == 1
    assert "lessons began with a result of the vision stage that has changed since; remove that folder" in caplog.text


def test_a_narrower_model_takes_over_what_fits(config_file):
    config = load_inf_config(config_file)
    model = InfKit.make(dataclasses.replace(config, model={"hidden_size": 96})).model
    nano = XComposer2ForCausalLM.from_pretrained(NANO, dtype=torch.float32)
    key = "vision_tower.vision_model.embeddings.position_embedding.weight"
    assert torch.equal(model.model.vision_tower.state_dict()[key], nano.vit.state_dict()[key])
    assert model.model.embed_tokens.weight.shape[1] == 96


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("lessons", "num_stepz"), 1, "num_stepz"),
        (("lessons", "tile_weight"), 0.2, "tile_weight must be 0"),
        (("lessons", "binding_weight"), 0.2, "binding_weight must be 0"),
        (("lessons", "value_weight"), 0.1, "value_weight must be 0"),
        (("num_slots",), 6, "num_slots may be at most 4: with pointing_weight each takes a head"),
        (("model",), [], r"model must be a mapping, not \[\]"),
        (("model",), {"hiden_size": 96}, "model: unknown setting hiden_size"),
        (("model",), {"hidden_size": 100}, "model: .*even"),
        (("model",), {"num_attention_heads": 5}, "model: .*not a multiple of the number of attention heads"),
        (("model",), {"num_attention_heads": 6}, "model: num_attention_heads must be a multiple of num_key_value_heads"),
        (("start_from",), str(NANO.parent / "inf-nano"), "start_from: the model in .* is of another kind"),
        (("start_from",), "nowhere", "there are no weights in nowhere"),
        (("log_every_steps",), 0, "intervals must be positive"),
        (("num_slots",), 40, "num_slots must be between 1 and 16"),
    ],
)
def test_a_bad_setting_is_named_before_any_work(tmp_path, place, value, message):
    raw = target = yaml.safe_load(CONFIG.read_text())
    raw["start_from"] = str(NANO)
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    path = tmp_path / "inf.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(SettingsError, match=message):
        load_inf_config(path)
