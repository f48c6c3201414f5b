"""Attention of a prefill chunk to itself and to what came before it, without a mask of all scores.

SDPA with a mask computes, and adds to, every score. Here what a causal chunk does not see is left out. On a CPU, where oneDNN
multiplies faster than MKL, which is inside the CPU's SDPA kernel, rows are taken in blocks: product, softmax, product. On other
CPUs the chunk and what came before it go through that kernel apart, and are put together by the logarithms of their softmax
sums. A GPU's flash kernel takes no mask: it aligns a causal chunk with the last key by itself, and lets heads share keys.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import repeat_kv

from ixc.models.onednn_linear import is_onednn_faster, linear

_BLOCK_ROWS = 256
"""Of scores at a time: a few MB, which stay in the processor's cache."""


def attends_without_mask(config: PreTrainedConfig, like: Tensor, cache: Cache | None) -> bool:
    """Whether chunks of such states are attended to this way: for inference by SDPA, on a CPU or an NVIDIA GPU.

    The chunk's keys have to be the last ones of ``cache``: not so in buffers of a fixed size, as a compiled step has them.
    """
    if cache is None or cache.is_compileable:
        return False
    if config._attn_implementation != "sdpa" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    if like.device.type == "cuda":
        return torch.version.hip is None  # AMD's have other kernels
    return like.device.type == "cpu" and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")


def attend_without_mask(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """The last S of K positions attend causally: query [B, heads, S, width], key and value [B, kv heads, K, width], S <= K.

    Returns [B, S, heads, width], as transformers' attention functions do.
    """
    if query.device.type == "cuda":
        return attend_aligned(query, key, value, scaling)
    attend = attend_in_blocks if query.dtype == torch.float32 and is_onednn_faster() else attend_in_parts
    return attend(query, key, value, scaling)


def attend_aligned(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """As ``attend_without_mask``, by the kernel that PyTorch chooses for a triangle in the lower right corner.

    Where no flash kernel runs, the memory-efficient one does, which takes keys and values that were repeated.
    """
    groups = query.shape[1] // key.shape[1]
    shares_keys = groups > 1 and can_use_flash_attention(SDPAParams(query, key, value, None, 0.0, False, True))
    if groups > 1 and not shares_keys:
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    triangle = causal_lower_right(query.shape[2], key.shape[2])
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=triangle, scale=scaling, enable_gqa=shares_keys)
    return out.transpose(1, 2)


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
