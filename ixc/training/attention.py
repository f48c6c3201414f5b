"""Attention that trains faster on a CPU: plain bfloat16 matrix products, one image or text at a time so that caches hold them.

PyTorch's fused CPU kernel takes 2.5 times as long in the vision tower (577 patches, heads of 32 channels), and it was half of a
language step. The numbers are the same up to rounding; finished models run with the fused one. So does training on a GPU, where
thousands of small operations would be waited for; there it only has to be possible to watch a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, CLIPVisionModel

from ixc.models.inf_llava import InfLlavaForCausalLM
from ixc.models.xcomposer2 import XComposer2ForCausalLM

Model = XComposer2ForCausalLM | InfLlavaForCausalLM

VISION_NAME = "one_image_at_a_time"
LANGUAGE_NAME = "one_text_at_a_time"
QUERY_BLOCK = 256
"""Queries that attend together: later keys than the block's last are left out, which halves the work on long texts."""


@dataclass(slots=True)
class Attended:
    """Scaled queries and keys, both with their rotary positions [B, heads, S, d], of one layer's last pass."""

    query: Tensor
    key: Tensor


_watched: ContextVar[dict[int, Attended | None] | None] = ContextVar("watched", default=None)


@contextmanager
def watching(*layers: int) -> Iterator[dict[int, Attended | None]]:
    """Inside, ``{layer: Attended}`` of the language model's last pass is kept; None before the first."""
    seen: dict[int, Attended | None] = dict.fromkeys(layers)
    token = _watched.set(seen)
    try:
        yield seen
    finally:
        _watched.reset(token)


@contextmanager
def fast_attention(model: Model) -> Iterator[None]:
    """Inside, a model attends this way: the language model anywhere, so that it can be watched, the tower on a CPU only.

    It cannot generate meanwhile, for there is no cache.
    """
    before, tower_before = model.config._attn_implementation, _tower(model).config._attn_implementation
    AttentionInterface.register(LANGUAGE_NAME, attend_causally)
    AttentionMaskInterface.register(LANGUAGE_NAME, lambda *_, **__: None)
    AttentionInterface.register(VISION_NAME, attend_one_by_one)
    is_on_cpu = next(model.parameters()).device.type == "cpu"
    _set_attention(model, LANGUAGE_NAME, VISION_NAME if is_on_cpu else tower_before)
    try:
        yield
    finally:
        _set_attention(model, before, tower_before)


def _tower(model: Model) -> CLIPVisionModel:
    return model.vit.clip if isinstance(model, XComposer2ForCausalLM) else model.model.vision_tower.clip


def _set_attention(model: Model, language: str, tower: str) -> None:
    model.config._attn_implementation = language
    _tower(model).set_attn_implementation(tower)  # after the line above, which reaches into the tower's configuration too


def attend_one_by_one(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: object
) -> tuple[Tensor, None]:
    """[B, heads, N, d] each -> [B, N, heads, d]. Masks and dropout are not for this tower."""
    each = [(q * scaling) @ k.transpose(-1, -2) for q, k in zip(query, key, strict=True)]
    out = torch.stack([torch.softmax(scores, -1, dtype=v.dtype) @ v for scores, v in zip(each, value, strict=True)])
    return out.transpose(1, 2).contiguous(), None


def attend_causally(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: object
) -> tuple[Tensor, None]:
    """[B, heads, S, d], keys and values perhaps with fewer heads, no cache, padded on the right only -> [B, S, heads, d]."""
    query, num_sharing = query * scaling, query.shape[1] // key.shape[1]
    if num_sharing > 1:  # heads that share keys and values lie side by side
        key, value = (each.repeat_interleave(num_sharing, dim=1) for each in (key, value))
    if (seen := _watched.get()) is not None and module.layer_idx in seen:
        seen[module.layer_idx] = Attended(query, key)
    if query.device.type == "cpu":
        out = torch.stack([_attend_row(q, k, v) for q, k, v in zip(query, key, value, strict=True)])
    else:
        query, key = query.to(value.dtype), key.to(value.dtype)  # rotary tables may be more precise
        out = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
    return out.transpose(1, 2).contiguous(), None


def _attend_row(query_HSd: Tensor, key_HSd: Tensor, value_HSd: Tensor) -> Tensor:
    blocks = []
    for start in range(0, query_HSd.shape[1], QUERY_BLOCK):
        queries = query_HSd[:, start : start + QUERY_BLOCK]
        stop = start + queries.shape[1]
        scores = queries @ key_HSd[:, :stop].transpose(-1, -2)
        later = torch.full((stop - start, stop - start), -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
        scores = scores + nn.functional.pad(later, (start, 0))
        blocks.append(torch.softmax(scores, -1) @ value_HSd[:, :stop])
    return torch.cat(blocks, dim=1)
