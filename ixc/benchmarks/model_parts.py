"""Vision tower and prefill by themselves, ours and as in the official code, on the same weights and inputs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ixc.benchmarks.baseline import BaselineChat, official_linears
from ixc.benchmarks.measuring import Figure, Target, times_ms
from ixc.chat.engine import Engine
from ixc.chat.prompt import EncodedPrompt, ImageSegment, TextSegment
from ixc.conversation import ImageView
from ixc.tiling import SizePx, TilePlan, plan_tiles

_NUM_TEXT_TOKENS = 16
_TEXT_ID = 1


def part_figures(engine: Engine, baseline: BaselineChat, pixels_HWC: np.ndarray, budget: int, repeats: int) -> list[Figure]:
    """From tiles to visual tokens, and from embeddings to the logits after the prompt."""
    plan = plan_tiles(SizePx(*pixels_HWC.shape[:2]), budget)
    with torch.inference_mode():
        return [_vision(engine, baseline, pixels_HWC, plan, repeats), _prefill(engine, plan, repeats)]


def _vision(engine: Engine, baseline: BaselineChat, pixels_HWC: np.ndarray, plan: TilePlan, repeats: int) -> Figure:
    runner = engine.runner
    tiles_NCHW = torch.from_numpy(engine.processor.image_processor.cut(pixels_HWC, plan))
    float_tiles_NCHW = baseline.float_tiles(pixels_HWC, plan)
    works = {
        "ours": lambda: runner.embed_image(tiles_NCHW, plan.grid),
        "official": lambda: baseline.embed_tiles(float_tiles_NCHW, plan.grid),
    }
    times = times_ms(works, repeats, runner.model.device)
    name = f"HD-{plan.max_patches} vision tower, {plan.num_views} views"
    return Figure(name, times["ours"], "ms", times["official"], "all views at once")


def _prefill(engine: Engine, plan: TilePlan, repeats: int) -> Figure:
    """Text, image, text; the same random visual tokens for both."""
    runner = engine.runner
    model = runner.model
    view = ImageView("benchmark", plan.max_patches)
    text = TextSegment((_TEXT_ID,) * _NUM_TEXT_TOKENS)
    prompt = EncodedPrompt((text, ImageSegment(view, plan), text))
    generator = torch.Generator(model.device).manual_seed(0)
    visual_TD = torch.randn(
        plan.num_visual_tokens, model.config.hidden_size, generator=generator, device=model.device, dtype=model.dtype
    )
    text_TD = runner.embed_ids(text.ids)
    embeds_1SD = torch.cat((text_TD, visual_TD, text_TD))[None]
    im_mask_1S = torch.zeros(embeds_1SD.shape[:2], dtype=torch.bool, device=model.device)
    im_mask_1S[:, len(text) : len(text) + plan.num_visual_tokens] = True

    def ours() -> Tensor:
        return runner.prefill(prompt, {view: visual_TD}, runner.new_cache(len(prompt)))

    def official() -> Tensor:
        with official_linears():
            return model(inputs_embeds=embeds_1SD, im_mask=im_mask_1S, logits_to_keep=1).logits

    times = times_ms({"ours": ours, "official": official}, repeats, model.device)
    name = f"HD-{plan.max_patches} prefill, {len(prompt)} tokens"
    return Figure(name, times["ours"], "ms", times["official"], "boolean gathers", Target(1, is_ratio=True))
