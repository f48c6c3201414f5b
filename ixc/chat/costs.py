"""What a view will cost before it is paid for: memory and time to the first token."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from transformers import PreTrainedConfig

from ixc.chat.interface import CostEstimate
from ixc.chat.kv_cache import ANSWER_ROOM, InPlaceCache
from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.single_view import ImagePlan

_SMOOTHING = 0.3
"""Weight of the newest answer when measured times correct the estimate."""
_MAX_CORRECTION = 3.0
"""Beyond this factor a time says more about what else the machine was doing."""
_WARM_UP_TOKENS = 256
_VISION_ACTIVATIONS = 8
"""Tensors of a view's width that are alive at once in a vision layer: states, norms, q, k, v and the two MLP halves."""
_LM_ACTIVATIONS = 8
"""Likewise in a decoder layer, besides the three of the feed-forward width."""


class CostModel:
    """Counts operations exactly and divides by speeds measured on this device.

    Memory: keys and values of all positions, the visual embeddings, and the larger of what the vision tower and one prefill
    chunk need while they run. Time: vision tower per view, language model linear in tokens plus attention quadratic in them,
    corrected by what answers really took.
    """

    def __init__(self, model: XComposer2ForCausalLM, *, prefill_chunk_tokens: int, views_per_pass: int) -> None:
        self._chunk_tokens, self._views_per_pass = prefill_chunk_tokens, views_per_pass
        self._config = model.config
        self._view_px = model.config.vision_config.image_size
        self._dtype, self._itemsize = model.dtype, model.dtype.itemsize
        self._lm_flops_per_token = 2 * sum(p.numel() for p in model.model.layers.parameters())
        self._view_ms: float | None = None
        self._lm_flops_per_ms: float | None = None
        self._correction = 1.0

    def measure(self, model: XComposer2ForCausalLM) -> None:
        """Time one view and one prefill chunk; also warms the device up."""
        view = torch.zeros(1, 3, self._view_px, self._view_px, dtype=model.dtype, device=model.device)
        embeds = torch.zeros(1, _WARM_UP_TOKENS, self._config.hidden_size, dtype=model.dtype, device=model.device)

        def prefill() -> None:
            cache = InPlaceCache(self._config.num_hidden_layers, _WARM_UP_TOKENS)
            model.model(inputs_embeds=embeds, past_key_values=cache)

        with torch.inference_mode():
            self._view_ms = _shortest_ms(lambda: model.encode_views(view), model.device)
            self._lm_flops_per_ms = self._lm_flops(_WARM_UP_TOKENS) / _shortest_ms(prefill, model.device)

    def estimate(self, plan: ImagePlan, num_text_tokens: int) -> CostEstimate:
        """For a first question of ``num_text_tokens`` about an image cut by ``plan``."""
        num_tokens = plan.num_visual_tokens + num_text_tokens
        time_ms = self.time_ms(plan.num_views, num_tokens)
        memory_bytes = self.memory_bytes(num_tokens, plan.num_visual_tokens, plan.num_tiles, num_answer_tokens=ANSWER_ROOM)
        return CostEstimate(memory_bytes, time_ms)

    def memory_bytes(
        self,
        num_tokens: int,
        num_visual_tokens: int,
        num_tiles: int,
        *,
        num_cached: int = 0,
        capacity: int = 0,
        num_answer_tokens: int = 0,
    ) -> int:
        """Peak on top of what is held for a prompt of ``num_tokens``, with ``num_visual_tokens`` of images not seen before.

        ``num_tiles`` is the largest such image's. Of the prompt ``num_cached`` tokens have their keys and values already, in a
        cache with room for ``capacity``. The answer's keys and values are counted for its first ``num_answer_tokens``.
        """
        config, vision = self._config, self._config.vision_config
        kv = max(0, num_tokens + num_answer_tokens - capacity) * self.bytes_per_token
        embeddings = num_visual_tokens * config.hidden_size * self._itemsize
        patches = min(self._views_per_pass, num_tiles + 1) * ((self._view_px // vision.patch_size) ** 2 + 1)
        view_bytes = self._view_px**2 * 3
        # uint8 tiles, the float32 image and its views while they are made; the features of all views; one pass's activations.
        seeing = num_tiles * view_bytes * (1 + 4 + 4) + num_visual_tokens * config.visual_width * self._itemsize
        seeing += patches * (_VISION_ACTIVATIONS * vision.hidden_size + 2 * vision.intermediate_size) * self._itemsize
        num_new = num_tokens - num_cached
        chunk = min(self._chunk_tokens or num_new, num_new)  # 0: all at once
        reading = chunk * (_LM_ACTIVATIONS * config.hidden_size + 3 * config.intermediate_size) * self._itemsize
        reading += chunk * num_tokens  # the causal mask, one byte each
        return kv + embeddings + max(seeing if num_tiles else 0, reading)

    @property
    def bytes_per_token(self) -> int:
        """Of keys and values."""
        return kv_bytes_per_token(self._config, self._dtype)

    def observe(self, num_views: int, num_tokens: int, measured_ms: float) -> None:
        """Learn from a finished prefill of ``num_tokens`` new tokens after ``num_views`` views."""
        expected_ms = self._raw_time_ms(num_views, num_tokens)
        if expected_ms:
            ratio = min(max(measured_ms / expected_ms, 1 / _MAX_CORRECTION), _MAX_CORRECTION)
            self._correction += _SMOOTHING * (ratio - self._correction)

    def time_ms(self, num_views: int, num_tokens: int, num_cached: int = 0) -> float | None:
        """To see ``num_views`` and read a prompt, of which ``num_cached`` tokens have been read; None before ``measure``."""
        whole_ms, read_ms = self._raw_time_ms(num_views, num_tokens), self._raw_time_ms(0, num_cached)
        return None if whole_ms is None or read_ms is None else (whole_ms - read_ms) * self._correction

    def _raw_time_ms(self, num_views: int, num_tokens: int) -> float | None:
        if self._view_ms is None or not self._lm_flops_per_ms:
            return None
        return num_views * self._view_ms + self._lm_flops(num_tokens) / self._lm_flops_per_ms

    def _lm_flops(self, num_tokens: int) -> float:
        attention = 2 * self._config.num_hidden_layers * self._config.hidden_size * num_tokens**2  # causal: half of 4 n^2 d
        return self._lm_flops_per_token * num_tokens + attention


def kv_bytes_per_token(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Keys and values of one position in all layers."""
    return config.num_hidden_layers * 2 * config.num_key_value_heads * config.head_dim * dtype.itemsize


def _shortest_ms(work: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    times_ms = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times_ms.append((time.perf_counter() - start_s) * 1000)
    return min(times_ms)
