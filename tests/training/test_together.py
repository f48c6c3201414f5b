"""Two processes that train together, as torchrun starts them."""

import os
import subprocess
import sys

import pytest
import torch

from ixc.training.checkpoints import load_checkpoint

PROGRAM = r"""
import dataclasses, sys, time
from pathlib import Path

import torch
from torch import distributed

from ixc.training import loop
from ixc.training.checkpoints import load_checkpoint, save_checkpoint
from ixc.training.config import load_config
from ixc.training.fonts import BUILT_IN
from ixc.training.joint_stage import JointStage
from ixc.training.stages import Kit, process_rank

folder, rank = Path(sys.argv[2]), int(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)


def save_late(*args):  # as a slow disk does: not before the other process has gone on, if it does
    for _ in range(30):
        if (folder / "gone on").exists():
            break
        time.sleep(0.1)
    return save_checkpoint(*args)


loop.save_checkpoint = save_late
kit = Kit.make(load_config(Path(sys.argv[1])), folder / f"kit{rank}")
loop.train_stage(JointStage(kit, (BUILT_IN,)), kit, folder / "joint", num_workers=0, stop_at=2)
if process_rank() == 1:
    state = load_checkpoint(folder / "joint")
    (folder / "gone on").touch()
    assert state is not None and state["step"] == 2, state
torch.save(kit.model.state_dict(), folder / f"weights{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.fixture
def config_file(tiny_config, raw_config, write_config):
    return write_config(raw_config)  # as tiny_config has changed it


def test_both_learn_the_same_and_find_the_checkpoint_when_they_go_on(config_file, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(config_file), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(errors)
    first, second = (torch.load(folder / f"weights{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert load_checkpoint(folder / "joint")["step"] == 2
