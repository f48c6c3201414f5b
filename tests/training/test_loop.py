"""The training loop: its steps, schedule and gradients, and which cores it uses."""

import dataclasses
import os

import pytest
import torch

from ixc.errors import TrainingDiverged
from ixc.training import loop
from ixc.training.loop import train_stage
from ixc.training.optim import Optimizers, accumulate, layerwise_decay, warmup_stable_decay
from ixc.training.stages import Kit
from ixc.training.vision_stage import VisionStage


def test_a_loss_that_is_no_number_ends_the_run_in_a_sentence():
    with pytest.raises(TrainingDiverged, match="The loss became nan; lower the learning rates"):
        accumulate(torch.tensor(float("nan"), requires_grad=True))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_gradients_that_are_no_numbers_end_the_run_before_they_reach_the_weights(value):
    parameters = {name: torch.nn.Parameter(torch.ones(2, 2)) for name in ("vit.a", "model.b")}
    optimizers = Optimizers(parameters.items(), lambda name: 1.0, muon_lr=0.1, adamw_lr=0.1)
    for each in parameters.values():
        each.grad = torch.ones(2, 2)
    parameters["model.b"].grad[0, 1] = value
    with pytest.raises(TrainingDiverged, match=f"The gradients became {value}; lower the learning rates"):
        optimizers.step(1.0)
    assert all((each == 1).all() for each in parameters.values())


def test_batches_are_the_same_however_many_processes_make_them(make_kit, fonts, tmp_path):
    def losses(num_workers):
        kit = make_kit()
        curve = train_stage(VisionStage(kit, fonts), kit, tmp_path / str(num_workers), num_workers=num_workers)
        return [point["loss"] for point in curve]

    assert losses(2) == pytest.approx(losses(0), abs=1e-3)


def test_a_gpu_is_fed_by_all_cores_but_one_unless_the_run_says_otherwise(make_kit, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "num_cores", lambda: 12)
    kit, cpu, gpu = make_kit(), torch.device("cpu"), torch.device("cuda")
    assert [loop._num_workers(kit, device) for device in (cpu, gpu)] == [1, 11]
    for chosen in (0, 5):
        own = Kit.make(dataclasses.replace(tiny_config, num_workers=chosen), tmp_path)
        assert [loop._num_workers(own, device) for device in (cpu, gpu)] == [chosen, chosen]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be counted apart here")
def test_no_number_of_threads_means_all_cores_of_this_process(make_kit, tiny_config, fonts, tmp_path, monkeypatch):
    """Whatever the stage before had, and torchrun's OMP_NUM_THREADS; two processes on a machine have half of it each."""
    all_cores = len(os.sched_getaffinity(0))
    vision = dataclasses.replace(tiny_config.vision, num_threads=0)
    before = torch.get_num_threads()
    try:
        for num_processes in (1, 2, 2 * all_cores):
            monkeypatch.setenv("LOCAL_WORLD_SIZE", str(num_processes))
            torch.set_num_threads(3)
            kit = Kit.make(dataclasses.replace(tiny_config, vision=vision), tmp_path)
            train_stage(VisionStage(kit, fonts), kit, tmp_path / "vision", num_workers=1, stop_at=1)
            assert torch.get_num_threads() == max(1, all_cores // num_processes)
    finally:
        torch.set_num_threads(before)


def test_schedule_warms_up_holds_and_ends_at_zero():
    rates = [warmup_stable_decay(step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:41] == [1.0] * 32  # the last 60 % fall
    assert rates[70] == pytest.approx(0.5)
    assert rates[100] == 0


def test_large_gradients_of_the_eyes_leave_the_language_model_s_alone():
    parameters = {name: torch.nn.Parameter(torch.zeros(2, 2)) for name in ("vit.a", "vision_proj.b", "model.c", "plora_GN")}
    optimizers = Optimizers(parameters.items(), lambda name: 1.0, muon_lr=0.1, adamw_lr=0.1)
    for name, each in parameters.items():
        each.grad = torch.full((2, 2), 0.25 if name == "model.c" else 10.0)
    norm = optimizers.clip(1.0)
    assert norm == pytest.approx((3 * 4 * 100 + 0.25) ** 0.5)
    assert (parameters["model.c"].grad == 0.25).all()
    seeing = torch.stack([parameters[name].grad for name in ("vit.a", "vision_proj.b", "plora_GN")])
    assert seeing.norm() == pytest.approx(1.0, rel=1e-3)


def test_layerwise_decay_counts_the_layers_above():
    assert layerwise_decay("vit.vision_tower.vision_model.encoder.layers.5.mlp.fc1.weight", 6, 0.9) == 1
    assert layerwise_decay("vit.vision_tower.vision_model.encoder.layers.3.mlp.fc1.weight", 6, 0.9) == pytest.approx(0.81)
    assert layerwise_decay("vit.vision_tower.vision_model.embeddings.patch_embedding.weight", 6, 0.9) == pytest.approx(0.9**6)
    assert layerwise_decay("model.layers.0.attention.wo.weight", 6, 0.9) == 1
