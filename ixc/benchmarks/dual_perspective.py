"""``python -m ixc.benchmarks.dual_perspective``: what INF-LLaVA's short cut saves of the vision part.

The full computation, 19 views and every attention, against the 10 views and the one sub-grid that reach the output, on the same
random weights and the same image, in turns. By default the tower and the enhancement have CLIP ViT-L's width and a few layers,
which a CPU runs in a minute; ``--layers 24`` is the released size.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from tqdm import trange

from ixc.benchmarks.measuring import Figure, Target, synchronize, table
from ixc.models.inf_llava import InfLlavaConfig, InfLlavaForCausalLM
from ixc.models.inf_llava.configuration import CLIP_VIT_L_336

TARGET = Target(1.8, is_ratio=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.benchmarks.dual_perspective", description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4, help="layers of the vision tower (released: 24)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    if options.layers < 2 or options.repeats < 1:
        parser.error("the tower needs at least 2 layers, and one run is the least that can be timed")
    report = measure(options.layers, options.repeats, torch.device(options.device))
    sys.stdout.write(table(report.pop("table")) + "\n")
    sys.stdout.write(f"largest difference between the two: {report['largest_difference']:.1e} (limit 1e-6)\n")
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


@torch.inference_mode()
def measure(num_layers: int, repeats: int, device: torch.device) -> dict[str, object]:
    """Medians of both ways, taken in turns so that other load on the machine strikes both alike, and their difference."""
    model = _vision_part(num_layers, device)
    generator = torch.Generator().manual_seed(0)
    square = torch.randint(0, 256, (1, 3, 1008, 1008), dtype=torch.uint8, generator=generator).to(device)

    def see(*, all_views: bool) -> torch.Tensor:
        model.computes_all_views = all_views
        return model.lay_out(model.encode_views(model.make_views(square)))

    difference = (see(all_views=True) - see(all_views=False)).abs().max().item()  # also the warm-up
    times_ms: dict[bool, list[float]] = {True: [], False: []}
    for _ in trange(repeats, desc="vision part"):
        for all_views, kept in times_ms.items():
            start_s = time.perf_counter()
            see(all_views=all_views)
            synchronize(device)
            kept.append((time.perf_counter() - start_s) * 1000)
    full_ms, short_ms = (statistics.median(times_ms[all_views]) for all_views in (True, False))
    figure = Figure("INF-LLaVA vision part", short_ms, "ms", full_ms, "all 19 views", TARGET)
    return {
        "table": [figure],
        "figures": [figure.as_json()],
        "largest_difference": difference,
        "vision_layers": num_layers,
        "repeats": repeats,
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
    }


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
