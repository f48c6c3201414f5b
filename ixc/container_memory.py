"""What the container this process runs in may take of its machine's memory: neither /proc/meminfo nor psutil know of it.

Standard library only. The files are the kernel's: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_NO_LIMIT = 2**60
"""The first version writes a number near 2^63 for none."""


@dataclass(frozen=True, slots=True)
class ContainerMemory:
    """Bytes; ``math.inf`` where there is no limit."""

    total: float = math.inf
    swap: float = math.inf
    """Besides ``total``."""
    free: float = math.inf


@dataclass(frozen=True, slots=True)
class _Files:
    """What the two versions call the same."""

    limit: str
    usage: str
    cache: str
    """In memory.stat: what was read from files and not used again, which the kernel gives up first."""
    swap_limit: str
    is_swap_counted_with_memory: bool


_V2 = _Files("memory.max", "memory.current", "inactive_file", "memory.swap.max", is_swap_counted_with_memory=False)
_V1 = _Files(
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
    "memory.memsw.limit_in_bytes",
    is_swap_counted_with_memory=True,
)


def container_memory() -> ContainerMemory:
    """The tightest limits of this process's control group and of those around it, as far as they can be seen."""
    total = swap = free = math.inf
    for folder, files in _groups():
        limit = _number(folder / files.limit)
        swap_limit = _number(folder / files.swap_limit)
        if limit < math.inf:
            used = _number(folder / files.usage)
            free = min(free, max(limit - (used if used < math.inf else 0) + _stat(folder, files.cache), 0))
        total = min(total, limit)
        swap = min(swap, max(swap_limit - limit, 0) if files.is_swap_counted_with_memory and limit < math.inf else swap_limit)
    return ContainerMemory(total, swap, free)


def _groups() -> Iterator[tuple[Path, _Files]]:
    """The own group's folder and all above it. Inside a container the own one is often mounted as the topmost."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, files = (_ROOT / "memory", _V1) if controllers else (_ROOT, _V2)
        own = root / place.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                yield folder, files


def _number(path: Path) -> float:
    """``math.inf`` for "max", and where there is no such file or nothing to be understood in it."""
    try:
        number = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return math.inf
    return number if number < _NO_LIMIT else math.inf


def _stat(folder: Path, name: str) -> int:
    try:
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)
    except (OSError, ValueError, IndexError):
        return 0
