"""Figures and how they are got: medians, ours and the baseline in turns, the hardware beside them."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import torch

from ixc.benchmarks.app_process import describe_hardware
from ixc.out_files import write_whole

try:
    import resource
except ImportError:  # Windows has none
    resource = None

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach: at most or at least ``bound``, of the figure itself or of its ratio to the baseline."""

    bound: float
    is_ratio: bool = False
    is_larger_better: bool = False

    def sentence(self, unit: str) -> str:
        amount = f"{self.bound:g}x" if self.is_ratio else f"{self.bound:g} {unit}"
        return f"{'at least' if self.is_larger_better or self.is_ratio else 'at most'} {amount}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured median and what it is compared with.

    ``is_larger_better`` tells speeds from times. The ratio is above 1 when ours is the better.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    baseline_name: str = ""
    target: Target | None = None
    is_larger_better: bool = False

    @property
    def ratio(self) -> float | None:
        if not self.baseline or not self.value:
            return None
        return self.value / self.baseline if self.is_larger_better else self.baseline / self.value

    @property
    def is_met(self) -> bool | None:
        """None without a target, or where the baseline that it is a ratio to was not measured."""
        if self.target is None or (self.target.is_ratio and self.ratio is None):
            return None
        if self.target.is_ratio:
            return self.ratio >= self.target.bound
        return self.value >= self.target.bound if self.is_larger_better else self.value <= self.target.bound

    def as_json(self) -> dict[str, object]:
        target = self.target.sentence(self.unit) if self.target else None
        return {**asdict(self), "target": target, "ratio": self.ratio, "is_met": self.is_met}


def times_ms(
    works: Mapping[str, Work], repeats: int, device: torch.device, *, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median times in milliseconds, after one run of each that does not count.

    The works take turns, so that whatever else the machine does hits all alike. On a GPU the time is the device's own, between
    two events on its stream. ``clock`` gives seconds on a CPU: ``time.thread_time`` for work in this thread alone counts what
    the core worked and not what it waited for its turn.
    """
    for work in works.values():
        work()
    measured: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            measured[name].append(_time_ms(work, device, clock))
    return {name: statistics.median(values) for name, values in measured.items()}


def _time_ms(work: Work, device: torch.device, clock: Callable[[], float]) -> float:
    if device.type != "cuda":
        start_s = clock()
        work()
        return (clock() - start_s) * 1000
    synchronize(device)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    stream = torch.cuda.current_stream(device)  # which need not be that of the current GPU
    start.record(stream)
    work()
    end.record(stream)
    synchronize(device)
    return start.elapsed_time(end)


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class PeakMemory:
    """The most memory in use on ``device`` since it was made: on a GPU what tensors took, else what the process took."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def num_bytes(self) -> int:
        """On a CPU the peak since the process began: the system keeps no other."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if resource is None:
            return psutil.Process().memory_info().peak_wset
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes


def load_average() -> float | None:
    """Processes that wanted to run in the last minute; above the number of cores, times are not to be trusted."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def write_result(path: Path, result: Mapping[str, object], figures: Sequence[Figure]) -> None:
    """As JSON, with the day, and with this machine and its load where ``result`` does not name them. Raises OSError."""
    own = {"hardware": describe_hardware(), "date": datetime.now(UTC).date().isoformat(), "load_average": load_average()}
    found = {"figures": [figure.as_json() for figure in figures]}
    write_whole(path, json.dumps({**own, **result, **found}, indent=1) + "\n")


def table(figures: list[Figure]) -> str:
    """The figures as lines of aligned text."""
    rows = [("", "median", "baseline", "ratio", "target", "")]
    for figure in figures:
        baseline = f"{_amount(figure.baseline)} {figure.unit} ({figure.baseline_name})" if figure.baseline else "-"
        ratio = f"{figure.ratio:.1f}x" if figure.ratio else "-"
        target = figure.target.sentence(figure.unit) if figure.target else "-"
        verdict = {True: "met", False: "missed", None: ""}[figure.is_met]
        rows.append((figure.name, f"{_amount(figure.value)} {figure.unit}", baseline, ratio, target, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
