"""Processor cores. Standard library only."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many this process may use; of the whole machine where the system, macOS or Windows, does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
