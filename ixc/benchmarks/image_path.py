"""The plan, and an upload's bytes to tiles: what one core works for it, in its own time."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from PIL import Image

from ixc.benchmarks.baseline import image_to_float_tiles
from ixc.benchmarks.measuring import Figure, Target, times_ms
from ixc.imaging.decode import decode_image
from ixc.imaging.resize import cut_tiles, resize_and_pad
from ixc.models.xcomposer2 import XComposer2ImageProcessor
from ixc.settings import ImageLimits
from ixc.tiling import SizePx, plan_tiles

JPEG_QUALITY = 90
_CPU = torch.device("cpu")
_PLANS_PER_RUN = 1000
_BUDGET = 55


def plan_figure(size_px: SizePx, repeats: int) -> Figure:
    """One call of ``plan_tiles``."""

    def many() -> None:
        for _ in range(_PLANS_PER_RUN):
            plan_tiles(size_px, _BUDGET)

    per_run_ms = times_ms({"plan": many}, repeats, _CPU, clock=time.thread_time)["plan"]
    return Figure("plan of one image", per_run_ms * 1000 / _PLANS_PER_RUN, "us", target=Target(20))


def image_figures(pixels_HWC: np.ndarray, budget: int, repeats: int) -> list[Figure]:
    """JPEG bytes to tiles: against Pillow to the same uint8 tiles, and against what the official code makes of it.

    The official code also normalises to float32 on the CPU; ours leaves that to the device, where it costs nothing.
    """
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "JPEG", quality=JPEG_QUALITY)
    data = file.getvalue()
    plan = plan_tiles(SizePx(*pixels_HWC.shape[:2]), budget)
    processor, limits = XComposer2ImageProcessor(), ImageLimits()
    processor.is_exact = False

    def by_pillow() -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    works = {
        "ours": lambda: processor.cut(decode_image(data, limits).pixels_HWC, plan),
        "Pillow": lambda: cut_tiles(resize_and_pad(by_pillow(), plan), plan),
        "official": lambda: image_to_float_tiles(by_pillow(), plan),
    }
    with one_core():
        times = times_ms(works, repeats, _CPU, clock=time.thread_time)
    name = f"HD-{budget} JPEG to tiles, {pixels_HWC.shape[1]} x {pixels_HWC.shape[0]}, one core"
    return [
        Figure(name, times["ours"], "ms", times["Pillow"], "Pillow", Target(50)),
        Figure(name, times["ours"], "ms", times["official"], "official", Target(2.5, is_ratio=True)),
    ]


@contextmanager
def one_core() -> Iterator[None]:
    """Within it neither PyTorch nor OpenCV starts threads."""
    num_torch, num_cv2 = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_torch)
        cv2.setNumThreads(num_cv2)
