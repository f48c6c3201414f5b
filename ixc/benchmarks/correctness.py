"""The fast path in its own precision against plain float32 on the same weights: speed that is wrong is worth nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ixc.benchmarks.random_weights import random_model
from ixc.chat.loading import VIEWS_PER_PASS, prefill_chunk_tokens
from ixc.chat.prompt import EncodedPrompt, ImageSegment, TextSegment
from ixc.chat.runner import ModelRunner
from ixc.conversation import ImageView
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ImageProcessor
from ixc.tiling import SizePx, plan_tiles

MAX_RELATIVE_ERROR = 0.05
"""Of the logits, in the norm of the difference to the norm: bfloat16 keeps 8 bits, and layers add up their roundings."""
_TEXT_IDS = tuple(range(5, 21))


@dataclass(frozen=True, slots=True)
class Comparison:
    """``relative_error`` is ||a - b|| / ||b|| over the logits after the prompt."""

    dtype: str
    device: str
    max_patches: int
    num_layers: int
    num_prompt_tokens: int
    relative_error: float
    cosine: float
    same_first_token: bool

    @property
    def is_fine(self) -> bool:
        return self.relative_error <= MAX_RELATIVE_ERROR


def compare_with_float32(
    config: XComposer2Config, device: torch.device, dtype: torch.dtype, pixels_HWC: np.ndarray, max_patches: int
) -> Comparison:
    """Image and text to logits in ``dtype`` by the engine's runner (fast resize, chunks), and in float32 by ``forward``.

    Both have the same weights, drawn in ``dtype``, so that only the arithmetic differs; the float32 model is made after the
    other one is gone. Both live on ``device``.
    """
    plan = plan_tiles(SizePx(*pixels_HWC.shape[:2]), max_patches)
    with torch.inference_mode():
        fast_V = _by_runner(config, device, dtype, pixels_HWC, max_patches)
        exact_V = _by_forward(config, device, dtype, pixels_HWC, max_patches)
    return Comparison(
        dtype=str(dtype).removeprefix("torch."),
        device=str(device),
        max_patches=max_patches,
        num_layers=config.num_hidden_layers,
        num_prompt_tokens=2 * len(_TEXT_IDS) + plan.num_visual_tokens,
        relative_error=float((fast_V - exact_V).norm() / exact_V.norm()),
        cosine=float(torch.nn.functional.cosine_similarity(fast_V, exact_V, dim=0)),
        same_first_token=bool(fast_V.argmax() == exact_V.argmax()),
    )


def _by_runner(
    config: XComposer2Config, device: torch.device, dtype: torch.dtype, pixels_HWC: np.ndarray, max_patches: int
) -> Tensor:
    model = random_model(config, device, dtype)
    runner = ModelRunner(
        model,
        prefill_chunk_tokens=prefill_chunk_tokens(device, None),
        views_per_pass=VIEWS_PER_PASS[device.type],
        stop_ids=frozenset(),
    )
    processor = XComposer2ImageProcessor()
    processor.is_exact = False
    plan = processor.plan(SizePx(*pixels_HWC.shape[:2]), max_patches)
    tiles_NCHW = torch.from_numpy(processor.cut(pixels_HWC, plan))
    embeds_TD = runner.embed_image(tiles_NCHW, plan.grid, lambda: False, lambda done, total: None)
    view = ImageView("check", max_patches)
    prompt = EncodedPrompt((TextSegment(_TEXT_IDS), ImageSegment(view, plan), TextSegment(_TEXT_IDS)))
    cache = runner.new_cache(len(prompt))
    return runner.prefill(prompt, {view: embeds_TD}, cache, lambda: False, lambda done, total: None).cpu()


def _by_forward(
    config: XComposer2Config, device: torch.device, dtype: torch.dtype, pixels_HWC: np.ndarray, max_patches: int
) -> Tensor:
    model = random_model(config, device, torch.float32, value_dtype=dtype)
    data = XComposer2ImageProcessor()(pixels_HWC, max_patches=max_patches)
    num_visual = plan_tiles(SizePx(*pixels_HWC.shape[:2]), max_patches).num_visual_tokens
    ids = torch.tensor([[*_TEXT_IDS, *[config.image_token_id] * num_visual, *_TEXT_IDS]], device=device)
    output = model(
        input_ids=ids, tiles=data["tiles"].to(device), image_grids=data["image_grids"], logits_to_keep=1, use_cache=False
    )
    return output.logits[0, -1].cpu()
