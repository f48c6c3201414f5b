"""The cores that a process may use are not those of the machine: containers and ``taskset`` give it fewer."""

from __future__ import annotations

import os

import pytest

from ixc.cores import usable_cores
from ixc.evaluation.workers import threads_each
from ixc.training.stages import num_cores


@pytest.fixture
def five_of_64(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 9}, raising=False)


def test_cores_are_those_that_the_system_gives(five_of_64, monkeypatch):
    assert usable_cores() == 5
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 64


@pytest.mark.parametrize(("num_processes", "cores_each"), [(1, 5), (2, 2), (7, 1)])
def test_processes_side_by_side_share_them(five_of_64, monkeypatch, num_processes, cores_each):
    """Those of an evaluation, and those that torchrun starts."""
    assert threads_each(num_processes) == cores_each
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(num_processes))
    assert num_cores() == cores_each
