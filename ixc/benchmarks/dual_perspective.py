"""``python -m ixc.benchmarks.dual_perspective``: what INF-LLaVA's short cut saves of the vision part.

The full computation, 19 views and every attention, against the 10 views and the one sub-grid that reach the output, on the same
random weights and the same image, in turns, the views in batches as the engine takes them. By default the tower has CLIP
ViT-L's width and four layers, which a CPU runs in a minute; what the released 24 would take is reckoned from that, because the
tower grows with its layers and the enhancement does not. ``--layers 24`` measures it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from tqdm import trange

from ixc.benchmarks.measuring import Figure, Target, synchronize, table, write_result
from ixc.benchmarks.out_file import check_out
from ixc.chat.loading import VIEWS_PER_PASS
from ixc.errors import SettingsError
from ixc.models.inf_llava import InfLlavaConfig, InfLlavaForCausalLM
from ixc.models.inf_llava.configuration import CLIP_VIT_L_336

TARGET = Target(1.8, is_ratio=True)
RELEASED_LAYERS = CLIP_VIT_L_336["num_hidden_layers"]
_BASELINE = "all 19 views"


@dataclass(frozen=True, slots=True)
class Parts:
    """Milliseconds of one image's vision part."""

    views_ms: float
    """Resizing and cropping."""
    tower_ms: float
    enhancement_ms: float

    @property
    def whole_ms(self) -> float:
        return self.views_ms + self.tower_ms + self.enhancement_ms

    def at_depth(self, num_layers: int, measured_layers: int) -> Parts:
        """With a tower of ``num_layers``. Of either number the last layer is never run."""
        return Parts(self.views_ms, self.tower_ms * (num_layers - 1) / (measured_layers - 1), self.enhancement_ms)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.benchmarks.dual_perspective", description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4, help=f"layers of the vision tower (released: {RELEASED_LAYERS})")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    if options.layers < 2 or options.repeats < 1:
        parser.error("the tower needs at least 2 layers, and one run is the least that can be timed")
    try:
        device = _device(options.device)
        if options.out:
            check_out(options.out)
    except SettingsError as error:
        parser.error(str(error))
    report = measure(options.layers, options.repeats, device)
    figures = report.pop("figures")
    sys.stdout.write(table(figures) + "\n")
    sys.stdout.write(f"largest difference between the two: {report['largest_difference']:.1e} (limit 1e-6)\n")
    if options.out:
        write_result(options.out, report, figures)
    return 0


@torch.inference_mode()
def measure(num_layers: int, repeats: int, device: torch.device) -> dict[str, object]:
    """Medians of both ways, taken in turns so that other load on the machine strikes both alike, and their difference.

    On a CPU the times are those that the process's threads worked, and not what they waited for a core.
    """
    model = _vision_part(num_layers, device)
    generator = torch.Generator().manual_seed(0)
    square = torch.randint(0, 256, (1, 3, 1008, 1008), dtype=torch.uint8, generator=generator).to(device)
    views_per_pass = VIEWS_PER_PASS["cpu" if device.type == "cpu" else "cuda"]
    full, _ = _see(model, square, views_per_pass, all_views=True)  # also the warm-up
    short, _ = _see(model, square, views_per_pass, all_views=False)
    measured: dict[bool, list[Parts]] = {True: [], False: []}
    for _ in trange(repeats, desc="vision part"):
        for all_views, kept in measured.items():
            kept.append(_see(model, square, views_per_pass, all_views=all_views)[1])
    figures = _figures(_medians(measured[False]), _medians(measured[True]), num_layers)
    return {
        "figures": figures,
        "largest_difference": (full - short).abs().max().item(),
        "vision_layers": num_layers,
        "views_per_pass": views_per_pass,
        "clock": "CPU time of the process" if device.type == "cpu" else "wall clock",
        "repeats": repeats,
        **({"hardware": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
        "threads": torch.get_num_threads(),
    }


def _figures(short: Parts, full: Parts, num_layers: int) -> list[Figure]:
    """Tower, enhancement and the whole as measured, and the whole with the released layers, which has the target."""

    def figure(name: str, value: Callable[[Parts], float], target: Target | None = None) -> Figure:
        return Figure(name, value(short), "ms", value(full), _BASELINE, target)

    is_released = num_layers == RELEASED_LAYERS
    figures = [
        figure(f"vision tower, {num_layers - 1} layers run", lambda parts: parts.tower_ms),
        figure("views and enhancement", lambda parts: parts.views_ms + parts.enhancement_ms),
        figure("INF-LLaVA vision part", lambda parts: parts.whole_ms, TARGET if is_released else None),
    ]
    if not is_released:
        name = f"the same, reckoned for the released {RELEASED_LAYERS - 1} layers"
        figures.append(figure(name, lambda parts: parts.at_depth(RELEASED_LAYERS, num_layers).whole_ms, TARGET))
    return figures


def _see(model: InfLlavaForCausalLM, square_1CHW: Tensor, views_per_pass: int, *, all_views: bool) -> tuple[Tensor, Parts]:
    """One image's tokens before the projector, as the engine makes them, and what each part took."""
    model.computes_all_views = all_views
    device = square_1CHW.device
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times_s = [clock()]
    views_NCHW = model.make_views(square_1CHW)
    synchronize(device)
    times_s.append(clock())
    features = torch.cat([model.encode_views(chunk_NCHW) for chunk_NCHW in views_NCHW.split(views_per_pass)])
    synchronize(device)
    times_s.append(clock())
    tokens = model.lay_out(features)
    synchronize(device)
    times_s.append(clock())
    views_ms, tower_ms, enhancement_ms = (1000 * (end - start) for start, end in pairwise(times_s))
    return tokens, Parts(views_ms, tower_ms, enhancement_ms)


def _medians(runs: list[Parts]) -> Parts:
    """Of each part."""
    return Parts(
        *(statistics.median(getattr(run, name) for run in runs) for name in ("views_ms", "tower_ms", "enhancement_ms"))
    )


def _device(name: str) -> torch.device:
    """Raises SettingsError for one that is not here."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        raise SettingsError(f"There is no device {name!r} here; give --device cpu, or leave it out.") from error
    return device


def _vision_part(num_layers: int, device: torch.device) -> InfLlavaForCausalLM:
    """The released widths with random weights; a language model as small as can be, for it is not run."""
    torch.manual_seed(0)
    config = InfLlavaConfig(
        vocab_size=16,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        bos_token_id=None,
        eos_token_id=None,
        vision_config={**CLIP_VIT_L_336, "num_hidden_layers": num_layers},
    )
    return InfLlavaForCausalLM(config).to(device).eval()


if __name__ == "__main__":
    sys.exit(main())
