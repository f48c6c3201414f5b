"""Figures and how they are kept: medians, a baseline in the same run, the hardware beside them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured median and what it is compared with.

    ``target`` is a sentence. ``is_larger_better`` tells speeds from times. The ratio is above 1 when ours is the better.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    baseline_name: str = ""
    target: str = ""
    is_larger_better: bool = False

    @property
    def ratio(self) -> float | None:
        if not self.baseline or not self.value:
            return None
        return self.value / self.baseline if self.is_larger_better else self.baseline / self.value

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio}


def median_ms(work: Callable[[], object], repeats: int, device: torch.device, *, warm_up: bool = True) -> float:
    """Median time of ``work`` in milliseconds, after one run that does not count; waits for the device."""
    if warm_up:
        work()
    times_ms = []
    for _ in range(repeats):
        synchronize(device)
        start_s = time.perf_counter()
        work()
        synchronize(device)
        times_ms.append((time.perf_counter() - start_s) * 1000)
    return statistics.median(times_ms)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(figures: list[Figure]) -> str:
    """The figures as lines of aligned text."""
    rows = [("", "median", "baseline", "ratio", "target")]
    for figure in figures:
        baseline = f"{_amount(figure.baseline)} {figure.unit} ({figure.baseline_name})" if figure.baseline else "-"
        ratio = f"{figure.ratio:.1f}x" if figure.ratio else "-"
        rows.append((figure.name, f"{_amount(figure.value)} {figure.unit}", baseline, ratio, figure.target or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
