"""A run's result as JSON, with everything needed to judge it, and where it is kept."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers

from ixc.benchmarks.app_process import describe_hardware
from ixc.benchmarks.concurrency import describe_conversations
from ixc.benchmarks.correctness import Comparison
from ixc.benchmarks.inference import BenchmarkOptions, peak_process_gigabytes
from ixc.benchmarks.measuring import Figure, load_average
from ixc.benchmarks.plot import plot_svg
from ixc.out_files import write_whole


class RunRecord:
    """Collects figures while they are measured; can be written at any time, also after an interruption."""

    def __init__(self, model: str, device: torch.device, precision: str, options: BenchmarkOptions) -> None:
        self.figures: list[Figure] = []
        self.comparisons: list[Comparison] = []
        self.is_complete = False
        self._model, self._device, self._precision, self._options = model, device, precision, options
        self._load_before = load_average()

    @property
    def title(self) -> str:
        """Model, precision and hardware in one line."""
        return f"{self._model}, {self._precision}, {hardware(self._device)}"

    def as_json(self) -> dict[str, object]:
        return {
            "model": self._model,
            "precision": self._precision,
            "hardware": hardware(self._device),
            "torch_threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
            "date": datetime.now(UTC).date().isoformat(),
            "repeats": self._options.repeats,
            "num_new_tokens": self._options.num_new_tokens,
            "conversations": describe_conversations(self._options.num_users, self._options.repeats),
            "load_average": {"before": self._load_before, "after": load_average()},
            "peak_process_gb": round(peak_process_gigabytes(), 2),
            "is_complete": self.is_complete,
            "figures": [figure.as_json() for figure in self.figures],
            "correctness": [asdict(comparison) | {"is_fine": comparison.is_fine} for comparison in self.comparisons],
        }

    def write(self, path: Path) -> Sequence[Path]:
        """``path`` as JSON, and beside it the plot as SVG, each whole or not at all. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(self.as_json(), indent=2) + "\n")
        picture = path.with_suffix(".svg")
        write_whole(picture, plot_svg(self.figures, self.title))
        return path, picture


def hardware(device: torch.device) -> str:
    """The GPU's or the processor's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else describe_hardware()
