"""Two processes that train together, as torchrun starts them."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from ixc.training.checkpoints import load_checkpoint
from ixc.training.config import load_config
from ixc.training.joint_stage import JointStage
from ixc.training.loop import train_stage
from ixc.training.stages import Kit

PROGRAM = r"""
import math, sys, time
from pathlib import Path

import torch
from torch import distributed

from ixc.errors import TrainingDiverged
from ixc.training import loop
from ixc.training.checkpoints import load_checkpoint, save_checkpoint
from ixc.training.config import load_config
from ixc.training.fonts import BUILT_IN
from ixc.training.joint_stage import JointStage
from ixc.training.optim import Optimizers, accumulate, average_gradients
from ixc.training.stages import Kit, process_rank

config, folder, rank = load_config(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)


def save_late(*args):  # as a slow disk does: not before the other process has gone on, if it does
    for _ in range(30):
        if (folder / "gone on").exists():
            break
        time.sleep(0.1)
    return save_checkpoint(*args)


def train(name, stop_at):
    kit = Kit.make(config, folder / f"kit{rank}")
    loop.train_stage(JointStage(kit, (BUILT_IN,)), kit, folder / name, num_workers=0, stop_at=stop_at)
    torch.save(kit.model.state_dict(), folder / f"{name}{rank}.pt")


loop.save_checkpoint = save_late
train("whole", 2)
if process_rank() == 1:
    state = load_checkpoint(folder / "whole")
    (folder / "gone on").touch()
    assert state is not None and state["step"] == 2, state
train("resumed", 1)
train("resumed", 2)

weight = torch.nn.Parameter(torch.ones(2, 2))
optimizers = Optimizers([("model.a", weight)], lambda name: 1.0, muon_lr=0.1, adamw_lr=0.1)
accumulate(weight.sum() * (math.nan if rank == 0 else 1.0))
average_gradients(optimizers.parameters)
try:
    optimizers.step(1.0)
except TrainingDiverged:
    (folder / f"diverged{rank}").touch()
distributed.destroy_process_group()
"""


@pytest.fixture
def config_file(tiny_config, raw_config, write_config):
    return write_config(raw_config)  # as tiny_config has changed it


@pytest.fixture
def folder(config_file, tmp_path):
    """What both processes have left."""
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(config_file), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    errors = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(errors)
    return folder


def test_two_processes_learn_as_one_run(folder, config_file, fonts, caplog):
    """Both learn the same and find the checkpoint when they go on; killed ones come to the same weights; a loss that is no

    number in one of them ends both; and one process alone may go on, but it is said what that means.
    """
    assert load_checkpoint(folder / "whole")["step"] == 2
    results = [torch.load(folder / f"{name}{rank}.pt", weights_only=True) for name in ("whole", "resumed") for rank in (0, 1)]
    for name, weight in results[0].items():
        assert torch.equal(weight, results[1][name]), name
        assert torch.equal(results[2][name], results[3][name]), name
        torch.testing.assert_close(weight, results[2][name], rtol=1e-4, atol=1e-5)
    assert all((folder / f"diverged{rank}").exists() for rank in (0, 1))
    kit = Kit.make(load_config(config_file), folder / "alone")
    with caplog.at_level(logging.WARNING):
        train_stage(JointStage(kit, fonts), kit, folder / "whole", num_workers=0, stop_at=2)
    assert "whole goes on with 1 instead of 2 processes: from here on it sees other documents" in caplog.text
