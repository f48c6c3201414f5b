"""Attention of a prefill chunk to itself and to what came before it on a CPU, without a mask of all scores.

SDPA with a mask computes, and adds to, every score. Here what a causal chunk does not see is left out. Where oneDNN multiplies
faster than MKL, which is inside the CPU's SDPA kernel, rows are taken in blocks: product, softmax, product. Elsewhere the chunk
and what came before it go through that kernel apart, and are put together by the logarithms of their softmax sums.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.integrations.sdpa_attention import repeat_kv

from ixc.models.onednn_linear import is_onednn_faster, linear

_BLOCK_ROWS = 256
"""Of scores at a time: a few MB, which stay in the processor's cache."""


def attends_without_mask(config: PreTrainedConfig, like: Tensor) -> bool:
    """Whether chunks of such states are attended to this way: on a CPU, where SDPA is chosen, for inference."""
    return (
        like.device.type == "cpu"
        and config._attn_implementation == "sdpa"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    )


def attend_without_mask(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """The last S of K positions attend causally: query [B, heads, S, width], key and value [B, kv heads, K, width], S <= K.

    Returns [B, S, heads, width], as transformers' attention functions do.
    """
    attend = attend_in_blocks if query.dtype == torch.float32 and is_onednn_faster() else attend_in_parts
    return attend(query, key, value, scaling)


def attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """As ``attend_without_mask``."""
    batch, heads, length, width = query.shape
    past, groups = key.shape[2] - length, heads // key.shape[1]
    query, value_BHWK = query * scaling, value.transpose(2, 3)
    unseen = torch.ones(_BLOCK_ROWS, _BLOCK_ROWS, dtype=torch.bool).triu_(1)
    out_BSHW = query.new_empty(batch, length, heads, width)
    for row in range(batch):
        for head in range(heads):
            for start in range(0, length, _BLOCK_ROWS):
                stop = min(start + _BLOCK_ROWS, length)
                size, seen = stop - start, past + stop
                scores = linear(query[row, head, start:stop], key[row, head // groups, :seen])
                scores[:, seen - size :].masked_fill_(unseen[:size, :size], -torch.inf)
                torch.softmax(scores, dim=-1, out=scores)
                out_BSHW[row, start:stop, head] = linear(scores, value_BHWK[row, head // groups, :, :seen].contiguous())
    return out_BSHW


def attend_in_parts(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """As ``attend_without_mask``."""
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    past, groups = key.shape[2] - query.shape[2], query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    own, own_BHS = attend(query, key[:, :, past:], value[:, :, past:], is_causal=True, scale=scaling)
    if past:
        before, before_BHS = attend(query, key[:, :, :past], value[:, :, :past], is_causal=False, scale=scaling)
        share = torch.sigmoid(before_BHS - own_BHS)[..., None].to(own.dtype)  # of the softmax sum
        own = torch.lerp(own, before, share)
    return own.transpose(1, 2)
