"""Freed memory goes back to the system, but not at every opportunity; code for products of many shapes is not kept for ever."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ixc.chat.heap import HeapTrimmer, trim_heap

BLOCK_BYTES = 64 * 1024
"""Below the size from which glibc gives each block pages of its own."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's heaps")


@on_glibc
def test_room_between_what_stays_is_returned():
    blocks = [bytearray(os.urandom(16)) * (BLOCK_BYTES // 16) for _ in range(1600)]  # 105 MB
    kept = blocks[::40]
    kept.append(blocks[-1])  # the heap's end stays taken
    full = resident_bytes()
    del blocks
    trim_heap()
    assert resident_bytes() < full - 80e6
    assert all(len(block) == BLOCK_BYTES for block in kept)


@on_glibc
def test_new_shapes_cost_no_memory_once_as_many_are_known_as_are_kept():
    """In a process of its own, since oneDNN reads its limits once. Unbounded, 300 further shapes take 130 MB."""
    program = """
import os, torch
from pathlib import Path
from ixc.chat.heap import bound_kernel_caches, trim_heap
bound_kernel_caches()
torch.set_num_threads(1)
weight = torch.ones(512, 192)
def resident_mb():
    trim_heap()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
def multiply(first, last):
    with torch.inference_mode():
        for rows in range(first, last):
            torch.ops.mkldnn._linear_pointwise(torch.ones(rows, 192), weight, None, "none", [], "")
multiply(32, 332)
full_mb = resident_mb()
multiply(332, 632)
print(resident_mb() - full_mb)
"""
    env = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 50


def test_however_many_pages_close_it_trims_now_and_then():
    now_s, trims_s = 100.0, []
    trimmer = HeapTrimmer(interval_s=15.0, trim=lambda: trims_s.append(now_s), clock=lambda: now_s)
    for now_s in (100.0, 100.1, 114.9, 115.0, 129.9, 300.0, 314.9):  # noqa: B007  the clock reads it
        trimmer.after_freeing()
    assert trims_s == [100.0, 115.0, 300.0]
