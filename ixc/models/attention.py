"""Which attention kernels a model runs on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.utils import is_flash_attn_2_available

_FLASH_CAPABILITY = (8, 0)
"""Ampere; neither flash-attn 2 nor PyTorch's flash kernel runs on older GPUs."""
_REPEATED_KEYS = "sdpa_with_repeated_keys"


def attention_implementation(device: torch.device, dtype: torch.dtype) -> str:
    """transformers' name for it: flash-attn where it is installed and runs, else PyTorch's own (SDPA).

    flash-attn needs no mask for a chunk of a prompt that follows others, or for a second turn; for SDPA transformers makes one
    then, where a model does not do without (``chunk_attention``). On a GPU where no flash kernel runs, older ones and float32,
    it is SDPA as ``attend_with_repeated_keys`` calls it.
    """
    if device.type != "cuda":
        return "sdpa"
    if dtype in (torch.float16, torch.bfloat16) and torch.cuda.get_device_capability(device) >= _FLASH_CAPABILITY:
        return "flash_attention_2" if is_flash_attn_2_available() else "sdpa"
    AttentionInterface.register(_REPEATED_KEYS, attend_with_repeated_keys)
    AttentionMaskInterface.register(_REPEATED_KEYS, sdpa_mask)
    return _REPEATED_KEYS


@dataclass(frozen=True, slots=True)
class _AsManyKeyHeads:
    """What SDPA's caller in transformers asks of a module, for one that has a key head for every query head."""

    is_causal: bool


def attend_with_repeated_keys(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: object
) -> tuple[Tensor, None]:
    """As transformers' SDPA: query [B, heads, S, d], key and value [B, kv heads, K, d] -> [B, S, heads, d].

    Without a mask transformers leaves the sharing of key heads to SDPA. On CUDA only the flash kernel can do that, and where
    it does not run PyTorch computes all S x K scores of all heads in memory; its memory-efficient kernel takes keys and values
    that were repeated. Source: torch, ``scaled_dot_product_attention``, on ``enable_gqa``.
    """
    num_sharing = query.shape[1] // key.shape[1]
    if attention_mask is not None or num_sharing == 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    own_keys = _AsManyKeyHeads(getattr(module, "is_causal", True))
    key, value = repeat_kv(key, num_sharing), repeat_kv(value, num_sharing)
    return sdpa_attention_forward(own_keys, query, key, value, None, **kwargs)
