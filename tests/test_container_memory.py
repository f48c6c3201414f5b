"""Memory in a container: its limit counts, not its machine's. The kernel's files are written by hand."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from ixc import container_memory
from ixc.application.model_files import ModelTooLarge, check_memory
from ixc.chat.memory import free_memory_bytes
from ixc.container_memory import ContainerMemory
from ixc.models.placement import parse_placement
from ixc.models.xcomposer2 import XComposer2Config
from ixc.settings import Settings

NONE_V1 = 9223372036854771712
"""What the first version writes where nothing was set."""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Writes files below the control groups' root and says which group is the process's own."""
    monkeypatch.setattr(container_memory, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(container_memory, "_OWN_GROUPS", tmp_path / "own")

    def write(own: str, **folders: dict[str, object]) -> None:
        (tmp_path / "own").write_text(own)
        for place, files in folders.items():
            folder = tmp_path / "cgroup" / Path(*place.split("__")[1:])
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (folder / name).write_text(f"{content}\n")

    return write


def v2(limit: object, current: int = 0, inactive: int = 0, **more: object) -> dict[str, object]:
    stat = f"anon {current - inactive}\ninactive_anon 7\ninactive_file {inactive}\nactive_file 0"
    return {"memory.max": limit, "memory.current": current, "memory.stat": stat} | more


def v1(limit: int, usage: int, inactive: int, swap_too: int) -> dict[str, object]:
    return {
        "memory.limit_in_bytes": limit,
        "memory.usage_in_bytes": usage,
        "memory.stat": f"inactive_file 1\ntotal_inactive_file {inactive}",
        "memory.memsw.limit_in_bytes": swap_too,
    }


def test_a_container_of_the_second_version(kernel):
    """What was read from files makes way, so it is free; 3,000 - (1,000 - 400)."""
    kernel("0::/\n", root=v2(3000, 1000, 400, **{"memory.swap.max": 500}))
    assert container_memory.container_memory() == ContainerMemory(3000, 500, 2400)


def test_the_tightest_of_the_groups_around_counts(kernel):
    kernel(
        "0::/pod/own\n",
        root__pod=v2(2000, 1900, **{"memory.swap.max": 0}),
        root__pod__own=v2("max", 100, **{"memory.swap.max": "max"}),
    )
    assert container_memory.container_memory() == ContainerMemory(2000, 0, 100)


def test_a_container_of_the_first_version_sees_its_own_group_as_the_topmost(kernel):
    """As Docker mounts it: the place that /proc names is the host's, and not there."""
    kernel("5:cpu,cpuacct:/x\n4:cpuset,memory:/docker/4f2a\n0::/x\n", root__memory=v1(3000, 1000, 400, 4000))
    assert container_memory.container_memory() == ContainerMemory(3000, 1000, 2400)


@pytest.mark.parametrize("own", ["4:memory:/a\n0::/\n", "", "3:cpu:/\n"])
def test_without_a_limit_there_is_no_end(kernel, own):
    kernel(own, root=v2("max", 10), root__memory=v1(NONE_V1, 12, 1, NONE_V1))
    assert container_memory.container_memory() == ContainerMemory(math.inf, math.inf, math.inf)


def test_where_there_are_no_such_files_there_is_no_end(kernel, tmp_path):
    kernel("0::/\n")
    assert container_memory.container_memory() == ContainerMemory()
    (tmp_path / "own").unlink()
    assert container_memory.container_memory() == ContainerMemory()


def test_more_used_than_allowed_leaves_nothing(kernel):
    kernel("0::/\n", root=v2(1000, 1200))
    assert container_memory.container_memory().free == 0


def test_whoever_asks_for_the_machines_memory_gets_the_containers(kernel, monkeypatch, tmp_path):
    plenty = SimpleNamespace(total=10**12, available=10**12)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: plenty)
    monkeypatch.setattr(psutil, "swap_memory", lambda: plenty)
    kernel("0::/\n", root=v2(8 * 10**6, 2 * 10**6, **{"memory.swap.max": 0}))
    assert free_memory_bytes(torch.device("cpu")) == 6 * 10**6
    assert parse_placement("split").max_memory_bytes["cpu"] == 5_400_000  # nine tenths
    XComposer2Config().save_pretrained(tmp_path)
    with pytest.raises(ModelTooLarge, match=r"take 17\.2 GB of memory and this machine has 8 MB for them"):
        check_memory(Settings(device="cpu"), "The 7B", tmp_path, 0)
