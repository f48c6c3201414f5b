"""What is left out of an image's sequence, against the layout written out token by token."""

import dataclasses
from contextlib import closing

import numpy as np
import pytest
import torch

from ixc.chat.loading import load_engine
from ixc.conversation import IMAGE_MARKER, ImageView, build_prompt
from ixc.evaluation.ablation import answer_without, train_without
from ixc.evaluation.held_out import make_tasks
from ixc.evaluation.nano import answer_task, make_signs
from ixc.imaging.decode import decode_image
from ixc.models.presets import NANO
from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.settings import ImageLimits, Settings
from ixc.tiling import Grid, plan_tiles
from ixc.training.ablation import GLOBAL_VIEW, NEWLINE, NOTHING, kept_tokens, places_among
from ixc.training.config import load_config
from ixc.training.export import export_checkpoint
from ixc.training.joint_stage import JointStage
from ixc.training.pointers import Places
from ixc.training.stages import Kit
from tests.training.conftest import CONFIG


def written_out(grid):
    """The kind of every visual token, in order."""
    kinds = []
    for _ in range(12):
        kinds += ["global"] * 12 + ["newline of the global view"]
    kinds.append("separator")
    for _ in range(12 * grid.rows):
        kinds += ["local"] * 12 * grid.cols + ["newline"]
    return np.array(kinds)


@pytest.mark.parametrize("grid", [Grid(1, 1), Grid(2, 3), Grid(4, 1)])
def test_only_what_was_named_is_left_out(grid):
    kinds = written_out(grid)
    assert kept_tokens(grid, NOTHING).all()
    assert len(kinds) == len(kept_tokens(grid, NOTHING))
    assert set(kinds[kept_tokens(grid, NEWLINE)]) == {"global", "separator", "local"}
    assert set(kinds[~kept_tokens(grid, NEWLINE)]) == {"newline of the global view", "newline"}
    assert set(kinds[kept_tokens(grid, GLOBAL_VIEW)]) == {"local", "newline"}
    assert set(kinds[~kept_tokens(grid, GLOBAL_VIEW)]) == {"global", "newline of the global view", "separator"}
    with pytest.raises(ValueError, match="no part 'corner'"):
        kept_tokens(grid, "corner")


def test_places_follow_their_tokens():
    kept = np.array([True, False, True, True])
    places = places_among(kept, Places(np.array([0, 1, 2, 3, -1]), np.array([0, 1, 2, 0, -1])))
    assert places.tokens.tolist() == [0, -1, 1, 2, -1]


@pytest.mark.parametrize("without", [NEWLINE, GLOBAL_VIEW])
def test_a_model_trains_and_answers_without_a_part(make_kit, without):
    kit = make_kit()
    kit = dataclasses.replace(
        kit, config=dataclasses.replace(kit.config, joint=dataclasses.replace(kit.config.joint, without=without))
    )
    stage = JointStage(kit)
    batch = next(batch for step in range(20) if "tiles" in (batch := stage.make_batch(step)))
    grid = Grid(*batch["grid"])
    num_visual = (batch["input_ids"] == kit.processor.image_token_id).sum(1)
    assert (num_visual == int(kept_tokens(grid, without).sum())).all()
    loss, _ = stage.loss(batch)
    assert torch.isfinite(loss)
    task = make_tasks(1, 3)[0]
    kit.model.eval()
    reading = answer_without(kit, task, 2, without)
    assert plan_tiles(task.size_px, 2).num_tiles <= 2
    assert reading.task is task


def test_with_everything_left_in_it_is_the_ordinary_model(make_kit):
    """Oracle: ``generate`` of the processor's own inputs."""
    kit = make_kit()
    kit.model.eval()
    task = make_tasks(1, 4)[0]
    image = decode_image(task.file, ImageLimits())
    prompt = build_prompt(kit.processor.default_system, (), task.question, ImageView("x", 2))
    inputs = kit.processor(
        IMAGE_MARKER.join(prompt.parts),
        images=[image.pixels_HWC],
        max_patches=2,
        return_tensors="pt",
    )
    expected = kit.model.generate(**inputs, do_sample=False, max_new_tokens=20, pad_token_id=2)
    reading = answer_without(kit, task, 2, NOTHING)
    text = kit.processor.tokenizer.decode(expected[0].tolist(), skip_special_tokens=True).strip()
    assert reading.answer[:10] == text[:10]


def test_a_model_that_was_just_trained_answers_as_the_finished_one_does(tiny_config, make_kit, tmp_path):
    """Training attends in ways of its own, which cannot generate. Oracle: the exported model, loaded anew."""
    export_checkpoint(make_kit(), tmp_path / "begun")
    kit = train_without(tiny_config, NOTHING, tmp_path / "begun", tmp_path / "run", num_steps=1)
    export_checkpoint(kit, tmp_path / "finished")
    loaded = XComposer2ForCausalLM.from_pretrained(tmp_path / "finished").eval()
    for task in make_tasks(3, 4):
        finished = answer_without(dataclasses.replace(kit, model=loaded), task, 2, NOTHING)
        assert answer_without(kit, task, 2, NOTHING).answer == finished.answer


def test_answers_are_the_apps_own(tmp_path):
    """Oracle: the engine, with the shipped weights, whose answers end."""
    config = dataclasses.replace(load_config(CONFIG.with_name("nano_whole.yaml")), start_from=str(NANO.source))
    kit = Kit.make(config, tmp_path)
    kit.model.eval()
    with closing(load_engine(dataclasses.replace(Settings(), model="ixc-nano"), measure=False)) as engine:
        for task in make_signs(3):
            reading = answer_without(kit, task, 1, NOTHING)
            assert reading.answer == answer_task(engine, task, 1).answer
            assert reading.answer
