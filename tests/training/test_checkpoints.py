"""Checkpoints: damaged ones are passed over, a killed run goes on at the same loss, another run's are refused."""

import dataclasses
import logging

import pytest
import torch

from ixc.errors import CheckpointError
from ixc.training.checkpoints import load_checkpoint, load_result, save_checkpoint
from ixc.training.export import export_checkpoint
from ixc.training.joint_stage import JointStage
from ixc.training.language_stage import LanguageStage
from ixc.training.loop import train_stage
from ixc.training.stages import Kit
from ixc.training.vision_stage import VisionStage

STAGES = (VisionStage, LanguageStage, JointStage)


def test_a_damaged_checkpoint_is_passed_over(tmp_path, caplog):
    save_checkpoint(tmp_path, 10, {"value": torch.ones(3)})
    newest = save_checkpoint(tmp_path, 20, {"value": torch.zeros(3)})
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        state = load_checkpoint(tmp_path)
    assert state["step"] == 10
    assert torch.equal(state["value"], torch.ones(3))
    assert "damaged" in caplog.text


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
