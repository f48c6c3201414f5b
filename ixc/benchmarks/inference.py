"""How fast a model runs here, against what the official code does, on the same weights in the same run: ``ixc bench``.

*Prefill* is the pass over the whole prompt before the first token can be chosen: it costs compute that grows with the visual
tokens. *Decode* is one pass for each further token: it costs reading the weights and the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch

from ixc.benchmarks.baseline import BaselineChat
from ixc.benchmarks.concurrency import concurrency_figures
from ixc.benchmarks.image_path import image_figures, plan_figure
from ixc.benchmarks.measuring import Figure, PeakMemory, Target
from ixc.benchmarks.model_parts import part_figures
from ixc.benchmarks.turns import Targets, TurnBenchmark, ask
from ixc.chat.engine import Engine
from ixc.imaging.decode import decode_image
from ixc.settings import ImageLimits
from ixc.shipped import ASSETS

IMAGE_FILE = ASSETS / "examples" / "poster.webp"
"""3840x2160."""

_FASTER = Target(1, is_ratio=True)
_TWICE = Target(2, is_ratio=True)
CPU_TARGETS = {
    9: Targets(decode=_TWICE),
    25: Targets(
        first_turn=_FASTER,
        first_turn_beams=Target(2.5, is_ratio=True),
        second_turn=Target(15, is_ratio=True),
        decode=_TWICE,
    ),
}
"""By budget: the small model's, which are ratios; the other budgets are shown for comparison."""
H200_TARGETS = {
    "bf16": Targets(first_turn=Target(330), second_turn=Target(40), decode=Target(240, is_larger_better=True)),
    "int8": Targets(decode=Target(380, is_larger_better=True)),
}
"""By precision: the full size's at HD-55 on an NVIDIA H200."""
H200_BUDGET = 55
H200_MEMORY_TARGET = Target(24)


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """What is measured. ``targets`` are by budget; ``memory_target`` is in GB at the largest budget."""

    budgets: tuple[int, ...] = (9, 25)
    repeats: int = 5
    num_new_tokens: int = 48
    num_users: int = 4
    with_beams: bool = True
    with_image_path: bool = True
    targets: dict[int, Targets] = field(default_factory=dict)
    memory_target: Target | None = None
    label: str = ""
    """Put before every name: the precision, where several are measured."""


class InferenceBenchmark:
    """All comparisons for one loaded engine. Stop tokens are ignored, so that every answer has the same length."""

    def __init__(self, engine: Engine, options: BenchmarkOptions) -> None:
        self._engine, self._options = engine, options
        engine.runner.stop_ids = frozenset()
        self._baseline = BaselineChat(engine.runner.model, engine.processor)
        self._image = decode_image(IMAGE_FILE, ImageLimits())

    def run(self, on_step: Callable[[str], object] = lambda name: None) -> Iterator[Figure]:
        """Figures as soon as they are measured; ``on_step`` hears what comes next. Takes minutes on a CPU."""
        for name, measure in self._steps():
            on_step(name)
            yield from measure()

    def _steps(self) -> Iterator[tuple[str, Callable[[], list[Figure]]]]:
        options, image, engine, baseline = self._options, self._image, self._engine, self._baseline
        if options.with_image_path:
            yield "the plan", lambda: [plan_figure(image.size_px, options.repeats)]
            for budget in options.budgets:
                yield f"the image path at HD-{budget}", lambda b=budget: image_figures(image.pixels_HWC, b, options.repeats)
        for budget in options.budgets:
            yield (
                f"vision tower and prefill at HD-{budget}",
                lambda b=budget: self._named(part_figures(engine, baseline, image.pixels_HWC, b, options.repeats)),
            )
            yield f"first and second turn at HD-{budget}", lambda b=budget: self._turns(b)
        smallest = min(options.budgets)
        yield (
            f"{options.num_users} conversations at once",
            lambda: self._named(
                concurrency_figures(
                    engine,
                    baseline,
                    image,
                    smallest,
                    num_users=options.num_users,
                    num_new_tokens=options.num_new_tokens,
                    repeats=options.repeats,
                )
            ),
        )

    def _turns(self, budget: int) -> list[Figure]:
        """With the peak memory of our own answers, measured before the baseline takes any."""
        options, device = self._options, self._engine.runner.model.device
        figures = []
        if device.type == "cuda":
            peak = PeakMemory(device)
            ask(self._engine, "memory", self._image, budget, options.num_new_tokens, False)
            self._engine.forget("memory")
            target = options.memory_target if budget == max(options.budgets) else None
            figures.append(Figure(f"HD-{budget} peak memory", peak.num_bytes / 1e9, "GB", target=target))
        turns = TurnBenchmark(self._engine, self._baseline, self._image, budget, options.num_new_tokens)
        targets = options.targets.get(budget, Targets())
        figures += turns.figures(options.repeats, targets, with_beams=options.with_beams)
        return self._named(figures)

    def _named(self, figures: list[Figure]) -> list[Figure]:
        label = self._options.label
        return [replace(figure, name=f"{label} {figure.name}") for figure in figures] if label else figures


def peak_process_gigabytes() -> float:
    """Of this process on the CPU, baseline and libraries included."""
    return PeakMemory(torch.device("cpu")).num_bytes / 1e9
