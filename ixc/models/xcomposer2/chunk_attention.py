"""Attention of a prefill chunk to itself and to what came before it, without a mask.

With a mask the CPU's kernel computes, and adds to, every score; without one it leaves out what a causal chunk does not see. So
the two parts are computed apart, each by the kernel without a mask, and put together by the logarithms of their softmax sums.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.integrations.sdpa_attention import repeat_kv


def attends_in_parts(config: PreTrainedConfig, like: Tensor) -> bool:
    """Whether chunks of such states are attended to this way: on a CPU, where SDPA is chosen, for inference."""
    return (
        like.device.type == "cpu"
        and config._attn_implementation == "sdpa"
        and not torch.is_grad_enabled()
        and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    )


def attend_in_parts(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """The last S of K positions attend causally: query [B, heads, S, width], key and value [B, kv heads, K, width], S < K.

    Returns [B, S, heads, width], as transformers' attention functions do.
    """
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    groups, past = query.shape[1] // key.shape[1], key.shape[2] - query.shape[2]
    if groups > 1:
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    own, own_BHS = attend(query, key[:, :, past:], value[:, :, past:], is_causal=True, scale=scaling)
    before, before_BHS = attend(query, key[:, :, :past], value[:, :, :past], is_causal=False, scale=scaling)
    share = torch.sigmoid(before_BHS - own_BHS)[..., None].to(own.dtype)  # of the softmax sum
    return torch.lerp(own, before, share).transpose(1, 2)
