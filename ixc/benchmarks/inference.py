"""How fast the model runs here, against what the official code does, on the same weights in the same run.

    python -m ixc.benchmarks.inference --model ixc-nano --max-patches 9 25 --out assets/results/inference_cpu.json

*Prefill* is the pass over the whole prompt before the first token can be chosen: it costs compute that grows with the visual
tokens. *Decode* is one pass for each further token: it costs reading the weights and the cache.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ixc.benchmarks.app_process import describe_hardware
from ixc.benchmarks.baseline import BaselineAnswer, BaselineChat, image_to_float_tiles
from ixc.benchmarks.measuring import Figure, median_ms, table
from ixc.chat.engine import Engine
from ixc.chat.events import AnswerStats, Finished
from ixc.chat.loading import load_engine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView, Turn, build_prompt
from ixc.imaging.decode import DecodedImage, decode_image
from ixc.models.presets import ASSETS
from ixc.settings import GenerationSettings, ImageLimits, Settings
from ixc.tiling import SizePx, plan_tiles

logger = logging.getLogger(__name__)

IMAGE_FILE = ASSETS / "examples" / "poster.webp"
"""3840x2160."""
NUM_NEW_TOKENS = 48
QUESTION, SECOND_QUESTION = "What does the text say?", "And what is written below it?"
_SESSION = "benchmark"


class InferenceBenchmark:
    """All comparisons for one loaded model. Stop tokens are ignored, so that every answer has the same length."""

    def __init__(self, engine: Engine, repeats: int) -> None:
        self._engine = engine
        self._runner, self._processor = engine.runner, engine.processor
        self._runner.stop_ids = frozenset()
        self._repeats = repeats
        self._device = self._runner.model.device
        self._baseline = BaselineChat(self._runner.model, self._processor)
        self._image = decode_image(IMAGE_FILE, ImageLimits())
        self._generation = GenerationSettings(max_new_tokens=NUM_NEW_TOKENS, do_sample=False)

    def run(self, budgets: list[int]) -> list[Figure]:
        """Measure everything; takes minutes on a CPU."""
        figures = [self._plan(), self._image_path(max(budgets))]
        for budget in budgets:
            logger.info("HD-%d ...", budget)
            figures += self._turns(budget)
        return figures

    def _plan(self) -> Figure:
        size = self._image.size_px
        per_ms = 1000

        def many() -> None:
            for _ in range(per_ms):
                plan_tiles(size, 55)

        return Figure("plan of one image", median_ms(many, self._repeats, self._device), "us", target="at most 20 us")

    def _image_path(self, budget: int) -> Figure:
        """A 4K JPEG's bytes to tiles, on one core."""
        file = io.BytesIO()
        Image.fromarray(self._image.pixels_HWC).save(file, "JPEG", quality=90)
        data, plan = file.getvalue(), plan_tiles(self._image.size_px, budget)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            ours = median_ms(
                lambda: self._processor.image_processor.cut(decode_image(data, ImageLimits()).pixels_HWC, plan),
                self._repeats,
                self._device,
            )
            theirs = median_ms(
                lambda: image_to_float_tiles(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), plan),
                self._repeats,
                self._device,
            )
        finally:
            torch.set_num_threads(threads)
        return Figure(f"4K JPEG to tiles, HD-{budget}, one core", ours, "ms", theirs, "Pillow, float32", "at most 50 ms, 2.5x")

    def _turns(self, budget: int) -> list[Figure]:
        first, second = self._ours(budget)
        parts = _parts(QUESTION, (), self._view(budget))
        turns = (Turn(QUESTION, "a sign", self._view(budget)),)
        second_parts = _parts(SECOND_QUESTION, turns, self._view(budget))
        ask = self._baseline.ask
        options = {"max_new_tokens": NUM_NEW_TOKENS}
        greedy = [ask(parts, self._image.pixels_HWC, budget, **options) for _ in range(self._repeats)]
        beams = [ask(parts, self._image.pixels_HWC, budget, num_beams=3, **options) for _ in range(self._repeats)]
        again = [ask(second_parts, self._image.pixels_HWC, budget, **options) for _ in range(self._repeats)]
        tokens_per_s = [(NUM_NEW_TOKENS - 1) / (answer.decode_ms / 1000) for answer in greedy]
        name = f"HD-{budget}"
        return [
            Figure(f"{name} first token, first turn", _ttft_ms(first), "ms", _ttft_ms(greedy), "greedy", "faster"),
            Figure(f"{name} first token, first turn", _ttft_ms(first), "ms", _ttft_ms(beams), "three beams", "2.5x"),
            Figure(f"{name} first token, second turn", _ttft_ms(second), "ms", _ttft_ms(again), "greedy", "15x at HD-25"),
            Figure(
                f"{name} decode",
                statistics.median(answer.decode_tokens_per_s for answer in first),
                "tokens/s",
                statistics.median(tokens_per_s),
                "generate",
                "2x",
                is_larger_better=True,
            ),
        ]

    def _ours(self, budget: int) -> tuple[list[AnswerStats], list[AnswerStats]]:
        """Statistics of first and second turns; the first repetition does not count."""
        first, second = [], []
        for _ in range(self._repeats + 1):
            self._engine.forget(_SESSION)
            first.append(self._ask(QUESTION, (), budget))
            # An answer text of the same length each time; its own tokens are not in the cache and run with the question.
            second.append(self._ask(SECOND_QUESTION, (Turn(QUESTION, "a sign", self._view(budget)),), budget))
        return first[1:], second[1:]

    def _ask(self, question: str, turns: tuple[Turn, ...], budget: int) -> AnswerStats:
        images: dict[str, DecodedImage] = {self._image.image_id: self._image}
        request = ChatRequest(_SESSION, question, self._view(budget), turns, images, generation=self._generation)
        *_, last = self._engine.answer(request, StopFlag())
        assert isinstance(last, Finished)  # noqa: S101 - a programming error otherwise
        return last.stats

    def _view(self, budget: int) -> ImageView:
        return ImageView(self._image.image_id, budget)


def _ttft_ms(answers: Sequence[AnswerStats | BaselineAnswer]) -> float:
    return statistics.median(answer.time_to_first_token_ms for answer in answers)


def _parts(question: str, turns: tuple[Turn, ...], view: ImageView) -> tuple[str, ...]:
    return build_prompt("", turns, question, view).parts


def main(argv: list[str] | None = None, print_line: Callable[[str], object] | None = None) -> None:
    """Run, print the table, write the JSON."""
    show = print_line or logger.info
    args = _parser().parse_args(argv)
    engine = load_engine(replace(Settings(), model=args.model))
    try:
        figures = InferenceBenchmark(engine, args.repeats).run(args.max_patches)
    finally:
        engine.close()
    hardware = engine.device_name if engine.device_name.startswith("NVIDIA") else describe_hardware()
    show(f"{engine.model_name}, {hardware}, torch {torch.__version__}, medians of {args.repeats}")
    show(table(figures))
    if args.out:
        result = {
            "model": engine.model_name,
            "hardware": hardware,
            "torch": torch.__version__,
            "date": datetime.now(UTC).date().isoformat(),
            "repeats": args.repeats,
            "num_new_tokens": NUM_NEW_TOKENS,
            "image_px": _size(SizePx(*decode_image(IMAGE_FILE, ImageLimits()).pixels_HWC.shape[:2])),
            "figures": [figure.as_json() for figure in figures],
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _size(size: SizePx) -> dict[str, int]:
    return {"height": size.height, "width": size.width}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ixc.benchmarks.inference", description=__doc__)
    parser.add_argument("--model", default="ixc-nano", help="preset or checkpoint folder")
    parser.add_argument("--max-patches", type=int, nargs="+", default=[9, 25])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
