"""Checkpoints: damaged ones are passed over, a killed run goes on at the same loss, another run's are refused."""

import dataclasses
import logging
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from ixc.errors import CheckpointError
from ixc.training.checkpoints import load_checkpoint, load_result, save_checkpoint, weights_digest
from ixc.training.export import export_checkpoint
from ixc.training.joint_stage import JointStage
from ixc.training.language_stage import LanguageStage
from ixc.training.loop import train_stage
from ixc.training.stages import Kit
from ixc.training.vision_stage import VisionStage

STAGES = (VisionStage, LanguageStage, JointStage)


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_passed_over_and_counts_no_more(tmp_path, caplog):
    before = save_checkpoint(tmp_path, 10, {"value": torch.ones(3)})
    damaged = save_checkpoint(tmp_path, 20, {"value": torch.zeros(3)})
    damage(damaged)
    with caplog.at_level(logging.WARNING):
        state = load_checkpoint(tmp_path)
    assert state["step"] == 10
    assert torch.equal(state["value"], torch.ones(3))
    assert f"{damaged.name} is damaged" in caplog.text
    new = save_checkpoint(tmp_path, 15, {"value": torch.zeros(3)})
    assert {before, new} < set(tmp_path.iterdir()), "what is damaged takes no place of those that are kept"
    assert load_checkpoint(tmp_path)["step"] == 15


def test_where_all_are_damaged_nothing_begins_again_unasked(tmp_path):
    for step in (10, 20):
        damage(save_checkpoint(tmp_path, step, {"value": torch.ones(3)}))
    for _ in range(2):  # asked again, or by another process of the run
        with pytest.raises(CheckpointError, match=r"No checkpoint in .* is whole; remove its \*.damaged files to train"):
            load_checkpoint(tmp_path)
    for path in tmp_path.glob("*.damaged"):
        path.unlink()
    assert load_checkpoint(tmp_path) is None


def _save_and_be_killed(folder, function):
    """Save step 30; the process is killed where ``function`` would be called."""
    owner, name = function
    setattr(owner, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    save_checkpoint(folder, 30, {"value": 30})


@pytest.mark.parametrize(
    ("function", "step"),
    [((os, "fsync"), 20), ((Path, "replace"), 20), ((Path, "unlink"), 30)],
    ids=["before it is on the disk", "before it has its name", "before an old one is removed"],
)
def test_a_process_that_is_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path, function, step):
    for earlier in (10, 20):
        save_checkpoint(tmp_path, earlier, {"value": earlier})
    process = multiprocessing.get_context("fork").Process(target=_save_and_be_killed, args=(tmp_path, function))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert load_checkpoint(tmp_path) == {"step": step, "value": step}
    newest = save_checkpoint(tmp_path, 40, {"value": 40})
    assert len(list(tmp_path.iterdir())) == 2, "what the killed one left is cleared away"
    assert load_checkpoint(tmp_path)["step"] == 40
    assert newest.exists()


def test_an_unfinished_or_empty_folder_has_no_checkpoint(tmp_path):
    assert load_checkpoint(tmp_path / "absent") is None
    path = save_checkpoint(tmp_path, 1, {"value": 1})
    path.rename(tmp_path / f"{path.name}.partial")  # as a kill between writing and renaming leaves it
    assert load_checkpoint(tmp_path) is None
    path = save_checkpoint(tmp_path, 2, {"value": 2})
    assert list(tmp_path.iterdir()) == [path], "what a killed run left is cleared away"


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    for step in range(5):
        save_checkpoint(tmp_path, step, {"value": step})
    assert sorted(path.name[:12] for path in tmp_path.iterdir()) == ["step-0000003", "step-0000004"]


@pytest.mark.parametrize("stage_class", STAGES)
def test_a_killed_run_goes_on_at_the_same_loss(make_kit, fonts, tmp_path, stage_class):
    def losses(folder, *stops):
        for stop in stops:
            kit = make_kit()
            curve = train_stage(stage_class(kit, fonts), kit, tmp_path / folder, num_workers=0, stop_at=stop)
        return [point["loss"] for point in curve]

    whole, resumed = losses("whole", 4), losses("resumed", 2, 4)
    assert len(whole) == 4
    assert resumed == pytest.approx(whole, abs=1e-3)


def test_the_mean_of_the_weights_is_the_result(tiny_config, fonts, tmp_path):
    """Half of the mean before and half of each step's weights; a killed run goes on with the mean that it had."""
    joint = dataclasses.replace(tiny_config.joint, mean_decay=0.5)
    config = dataclasses.replace(tiny_config, joint=joint)

    def run(folder, *stops):
        """The last step's weights after each stop, and the result."""
        steps = []
        for stop in stops:
            kit = Kit.make(config, tmp_path / "kit")
            train_stage(JointStage(kit, fonts), kit, tmp_path / folder, num_workers=0, stop_at=stop)
            steps.append(load_checkpoint(tmp_path / folder)["model"])
        return steps, kit.model.state_dict()

    (first, second, third), resumed = run("resumed", 1, 2, 3)
    _, whole = run("whole", 3)
    saved = load_result(tmp_path, "resumed")
    for name, weight in resumed.items():
        assert torch.allclose(weight, 0.25 * first[name] + 0.25 * second[name] + 0.5 * third[name], atol=1e-6), name
        assert torch.equal(weight, saved[name])
        assert torch.allclose(weight, whole[name], atol=1e-5)
    assert any(not torch.equal(weight, third[name]) for name, weight in resumed.items())


def test_a_mean_wished_for_after_the_stage_has_finished_is_its_weights(tiny_config, fonts, tmp_path):
    """Not those that the run began with: no step is left to make a mean of."""

    def result(mean_decay):
        joint = dataclasses.replace(tiny_config.joint, mean_decay=mean_decay)
        kit = Kit.make(dataclasses.replace(tiny_config, joint=joint), tmp_path / "kit")
        train_stage(JointStage(kit, fonts), kit, tmp_path / "joint", num_workers=0)
        return kit.model.state_dict()

    finished, again = result(0.0), result(0.5)
    assert all(torch.equal(again[name], weight) for name, weight in finished.items())


def test_a_folder_of_another_run_is_not_gone_on_with(tiny_config, make_kit, fonts, tmp_path):
    """The documents of another seed, other starting weights or parts that train: the result would be neither run's."""
    first = make_kit()
    train_stage(JointStage(first, fonts), first, tmp_path / "joint", num_workers=0, stop_at=1)
    export_checkpoint(first, tmp_path / "begun")
    frozen = dataclasses.replace(tiny_config.joint, vision_lr_scale=0.0)
    others = {"seed": {"seed": 8}, "start_from": {"start_from": str(tmp_path / "begun")}, "trained weights": {"joint": frozen}}
    for name, changes in others.items():
        kit = Kit.make(dataclasses.replace(tiny_config, **changes), tmp_path / "kit")
        with pytest.raises(CheckpointError, match=f"another run, whose {name} differ; give another --out"):
            train_stage(JointStage(kit, fonts), kit, tmp_path / "joint", num_workers=0)
    longer = dataclasses.replace(tiny_config.joint, num_steps=6, muon_lr=0.001)  # this may be changed on the way
    kit = Kit.make(dataclasses.replace(tiny_config, joint=longer), tmp_path / "kit")
    curve = train_stage(JointStage(kit, fonts), kit, tmp_path / "joint", num_workers=0, stop_at=3)
    assert [point["step"] for point in curve] == [1, 2, 3]
    assert [point["elapsed_s"] for point in curve] == sorted(point["elapsed_s"] for point in curve), "the clock goes on"


def test_a_stage_is_not_gone_on_with_when_what_it_began_with_has_changed(make_kit, fonts, tmp_path):
    """But checkpoints that do not say what they began with, as earlier versions wrote them, are."""

    def train(stop_at, **results):
        kit = make_kit()
        train_stage(JointStage(kit, fonts), kit, tmp_path / "joint", num_workers=0, stop_at=stop_at, begun_with=results)

    train(1, language="a", vision="b")
    with pytest.raises(
        CheckpointError, match=r"joint began with a result of the language stage that has changed since; remove"
    ):
        train(2, language="changed", vision="b")
    with pytest.raises(CheckpointError, match="result of the language and reading and vision stage that has changed"):
        train(2, reading="c")
    train(2, language="a", vision="b")
    state = load_checkpoint(tmp_path / "joint")
    assert state["step"] == 2
    del state["run"]["results it began with"], state["num_processes"]
    save_checkpoint(tmp_path / "joint", 3, {**state, "step": 3})
    train(4, language="changed", vision="b")
    assert load_checkpoint(tmp_path / "joint")["step"] == 4


def test_a_digest_of_weights_is_theirs_alone():
    weights = {"a": torch.arange(6).float().view(2, 3), "b": torch.tensor(True)}
    digest = weights_digest(weights)
    assert digest == weights_digest({"b": weights["b"], "a": weights["a"].clone()})
    others = [{"a": weights["a"].view(3, 2)}, {"a": weights["a"] + 1}, {"a": weights["a"].int()}, {"c": weights["a"]}]
    assert len({digest, *(weights_digest({"b": weights["b"], **other}) for other in others)}) == 5
