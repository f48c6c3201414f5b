"""The fast path in its own precision against plain float32 on the same weights: speed that is wrong is worth nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from ixc.benchmarks.random_weights import random_model
from ixc.chat.kv_cache import ANSWER_ROOM
from ixc.chat.loading import VIEWS_PER_PASS, prefill_chunk_tokens
from ixc.chat.prompt import EncodedPrompt, ImageSegment, TextSegment
from ixc.chat.runner import ModelRunner
from ixc.chat.static_decode import DecodeMode, make_static_decoder
from ixc.conversation import ImageView
from ixc.models.precision import Precision, load_dtype, quantise, take_quantised_values
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ImageProcessor
from ixc.tiling import SizePx, plan_tiles

MAX_RELATIVE_ERROR = 0.05
"""Of the logits, in the norm of the difference to the norm: bfloat16 keeps 8 bits, and layers add up their roundings."""
_TEXT_IDS = tuple(range(5, 21))
_NUM_ANSWER_TOKENS = 9
"""The first comes from the prefill's logits, the others from decoding."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Errors are ||a - b|| / ||b|| over the logits: after the prompt, the largest after a decoded token, after a second turn;
    ``kept_error`` over the last layer's keys and values of the answer, as the second turn finds them.

    ``decoded_as`` says how the tokens were really decoded, after what was not possible here.
    """

    precision: str
    dtype: str
    device: str
    decoded_as: str
    max_patches: int
    num_layers: int
    num_prompt_tokens: int
    relative_error: float
    decoding_error: float
    second_turn_error: float
    kept_error: float
    cosine: float
    same_first_token: bool

    @property
    def is_fine(self) -> bool:
        errors = (self.relative_error, self.decoding_error, self.second_turn_error, self.kept_error)
        return all(error <= MAX_RELATIVE_ERROR for error in errors)  # also where one is not a number


@dataclass(frozen=True, slots=True)
class _Case:
    """What both sides compute. ``dtype`` is that of the fast side, and of the values of both."""

    config: XComposer2Config
    device: torch.device
    precision: Precision
    dtype: torch.dtype
    pixels_HWC: np.ndarray  # noqa: N815  dimension letters
    max_patches: int


def compare_with_float32(
    config: XComposer2Config,
    device: torch.device,
    precision: Precision,
    pixels_HWC: np.ndarray,
    max_patches: int,
    mode: DecodeMode = DecodeMode.AUTO,
) -> Comparison:
    """Image and text, an answer and a second turn: by the engine's runner in ``precision``, and in float32 by ``forward``.

    The float32 side goes first and chooses the answer's tokens; the other one is given the same. Both have the same weights,
    drawn in the fast side's dtype (of quantised ones the values that they stand for), so that only the arithmetic differs; the
    second model is made after the first is gone. Both live on ``device``. Raises SettingsError when the precision is not to be
    had.
    """
    plan = plan_tiles(SizePx(*pixels_HWC.shape[:2]), max_patches)
    dtype = load_dtype(precision, device, 0)
    case = _Case(config, device, precision, dtype, pixels_HWC, max_patches)
    with torch.inference_mode():
        exact_NV, exact_kept, answer_ids = _by_forward(case)
        fast_NV, fast_kept, decoded_as = _by_runner(case, answer_ids, mode)
    errors_N = (fast_NV - exact_NV).norm(dim=-1) / exact_NV.norm(dim=-1)
    return Comparison(
        precision=str(precision),
        dtype=str(dtype).removeprefix("torch."),
        device=str(device),
        decoded_as=str(decoded_as),
        max_patches=max_patches,
        num_layers=config.num_hidden_layers,
        num_prompt_tokens=2 * len(_TEXT_IDS) + plan.num_visual_tokens,
        relative_error=float(errors_N[0]),
        decoding_error=float(errors_N[1:-1].max()),
        second_turn_error=float(errors_N[-1]),
        kept_error=float((fast_kept - exact_kept).norm() / exact_kept.norm()),
        cosine=float(torch.nn.functional.cosine_similarity(fast_NV[0], exact_NV[0], dim=0)),
        same_first_token=bool(fast_NV[0].argmax() == exact_NV[0].argmax()),
    )


class _GivenAnswer:
    """Takes a ``TokenSampler``'s place: says what it was given, and keeps the logits that it was asked with."""

    def __init__(self, ids: Sequence[int], device: torch.device) -> None:
        self._ids, self._device = ids, device
        self.logits: list[Tensor] = []

    def sample(self, logits_V: Tensor) -> Tensor:
        self.logits.append(logits_V.to("cpu", torch.float32, copy=True))  # a static decoder's are valid until its next step
        return torch.tensor([self._ids[len(self.logits) - 1]], device=self._device)

    def next_token(self, logits_V: Tensor) -> int:
        return int(self.sample(logits_V))


def _by_runner(case: _Case, answer_ids: Sequence[int], mode: DecodeMode) -> tuple[Tensor, Tensor, DecodeMode]:
    """Logits [answer + 1, V] and what is kept as ``_by_forward``'s, and how the answer was decoded."""
    model = random_model(case.config, case.device, case.dtype)
    if case.precision.is_quantised:
        quantise(model, case.precision, case.device)
    processor = XComposer2ImageProcessor()
    processor.is_exact = False
    plan = processor.plan(SizePx(*case.pixels_HWC.shape[:2]), case.max_patches)
    view = ImageView("check", case.max_patches)
    segments = (TextSegment(_TEXT_IDS), ImageSegment(view, plan), TextSegment(_TEXT_IDS))
    prompt = EncodedPrompt(segments)
    second = EncodedPrompt((*segments[:-1], TextSegment((*_TEXT_IDS, *answer_ids, *_TEXT_IDS))))
    static = make_static_decoder(model, len(prompt) + ANSWER_ROOM, mode)
    runner = ModelRunner(
        model,
        prefill_chunk_tokens=prefill_chunk_tokens(case.device, None),
        views_per_pass=VIEWS_PER_PASS[case.device.type],
        stop_ids=frozenset(),
        static=static,
    )
    tiles_NCHW = torch.from_numpy(processor.cut(case.pixels_HWC, plan))
    embeds = {view: runner.embed_image(tiles_NCHW, plan.grid)}
    cache = runner.new_cache(len(prompt))
    answer = _GivenAnswer(answer_ids, case.device)
    logits_V = runner.prefill(prompt, embeds, cache)
    for _ in runner.decode(logits_V, answer, cache, len(answer_ids)):
        pass
    last_V = runner.prefill(second, embeds, cache).cpu()
    kept = _kept(cache, len(prompt), len(answer_ids))
    return torch.stack([*answer.logits, last_V]), kept, static.mode if static is not None else DecodeMode.DYNAMIC


def _by_forward(case: _Case) -> tuple[Tensor, Tensor, list[int]]:
    """Logits [answer + 1, V] before each token of the greedy answer and after a second turn; ``_kept``; the answer."""
    model = random_model(case.config, case.device, torch.float32, value_dtype=case.dtype)
    if case.precision.is_quantised:
        take_quantised_values(model, case.precision, case.dtype, case.device)
    data = XComposer2ImageProcessor()(case.pixels_HWC, max_patches=case.max_patches)
    num_visual = plan_tiles(SizePx(*case.pixels_HWC.shape[:2]), case.max_patches).num_visual_tokens
    cache = DynamicCache(config=case.config)

    def after(ids: Sequence[int], **image: Tensor) -> Tensor:
        ids_1S = torch.tensor([ids], device=case.device)
        return model(ids_1S, past_key_values=cache, logits_to_keep=1, **image).logits[0, -1].cpu()

    prompt_ids = [*_TEXT_IDS, *[case.config.image_token_id] * num_visual, *_TEXT_IDS]
    logits = [after(prompt_ids, tiles=data["tiles"].to(case.device), image_grids=data["image_grids"])]
    answer_ids = [int(logits[0].argmax())]
    while len(answer_ids) < _NUM_ANSWER_TOKENS:
        logits.append(after(answer_ids[-1:]))
        answer_ids.append(int(logits[-1].argmax()))
    logits.append(after([answer_ids[-1], *_TEXT_IDS]))
    return torch.stack(logits), _kept(cache, len(prompt_ids), len(answer_ids)), answer_ids


def _kept(cache: Cache, start: int, length: int) -> Tensor:
    """The last layer's keys and values at the answer's positions, [2, kv heads, length, head_dim]."""
    states = (cache.layers[-1].keys, cache.layers[-1].values)
    return torch.cat([each[:, :, start : start + length] for each in states]).float().cpu()
