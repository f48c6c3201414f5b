"""InternLM2 with Partial LoRA. Semantics: reference/ixc2_4khd/README.md, "PLoRA" and "InternLM2"."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, eager_attention_forward

from ixc.models.onednn_linear import linear
from ixc.models.xcomposer2.blocked_cache import BlockedLayer
from ixc.models.xcomposer2.chunk_attention import attend_without_mask, attends_without_mask
from ixc.models.xcomposer2.configuration import XComposer2Config
from ixc.models.xcomposer2.spans import VisualSpans

_FIRST_POSITIONS = 2048


class PLoRALinear(nn.Linear):
    """y = W x, and for visual tokens y += B(A(x)) * alpha / rank. Source: arXiv 2404.06512 section 3.1; released ranks."""

    def __init__(self, in_features: int, out_features: int, *, rank: int, alpha: int, dropout: float) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.plora_scaling = alpha / rank
        self.plora_dropout = dropout
        self.Plora_A = nn.Linear(in_features, rank, bias=False)
        self.Plora_B = nn.Linear(rank, out_features, bias=False)

    def forward(self, x_BSD: Tensor, spans: VisualSpans | None = None) -> Tensor:
        """Shapes [B, S, in] -> [B, S, out]. Without spans the branch costs nothing (text, decoding)."""
        y_BSD = linear(x_BSD, self.weight)
        if spans:
            for rows, positions in spans.slices():
                visual = F.dropout(x_BSD[rows, positions], self.plora_dropout, self.training)
                self._add_branch(y_BSD[rows, positions], self.Plora_A(visual))
        return y_BSD

    def _add_branch(self, y_BTD: Tensor, low_BTR: Tensor) -> None:
        """Add B(low) * alpha / rank to ``y_BTD`` in place; on a GPU within the product, which then is not written by itself."""
        weight_DR = self.Plora_B.weight
        is_here = weight_DR.device == y_BTD.device and weight_DR.dtype == y_BTD.dtype  # not offloaded, no autocast
        if y_BTD.device.type == "cpu" or torch.is_grad_enabled() or not is_here:  # a CPU has faster products than addmm's
            y_BTD.add_(self.Plora_B(low_BTR), alpha=self.plora_scaling)
        else:
            add_product(y_BTD, low_BTR, weight_DR, self.plora_scaling)


def add_product(y_BTD: Tensor, low_BTR: Tensor, weight_DR: Tensor, scale: float) -> None:
    """y += scale * low weight^T, in place and rounded once."""
    for y_TD, low_TR in zip(y_BTD, low_BTR, strict=True):
        y_TD.addmm_(low_TR, weight_DR.t(), alpha=scale)


class RMSNorm(nn.Module):
    """Root mean square norm, computed in float32 and cast back before the weight is applied.

    ``F.rms_norm`` does both by itself, on a GPU in one kernel; given the weight too, it would multiply before it casts.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * F.rms_norm(x, x.shape[-1:], eps=self.eps).to(x.dtype)  # under autocast it is float32


class RotaryTables:
    """cos and sin of rotary positions, each [B, S, head_dim], by look-up in tables that grow on demand.

    Not a module and without buffers: ``from_pretrained`` would bring non-persistent buffers back as garbage. Computed in
    float32, then cast.
    """

    def __init__(self, config: XComposer2Config) -> None:
        self._head_dim, self._theta = config.head_dim, config.rope_theta
        self._tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def consecutive(self, start: int, stop: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """For positions ``start`` to ``stop`` of a batch of any size, on the device and in the dtype of ``like``."""
        cos, sin = self._covering(stop, like)
        return cos[None, start:stop], sin[None, start:stop]

    def tables(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """For all positions below ``length``, [at least length, head_dim], to look up one that only the device knows."""
        return self._covering(length, like)

    def at(self, position_ids_BS: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """For given positions. Costs one transfer to the host, to know the largest."""
        cos, sin = self._covering(int(position_ids_BS.max()) + 1, like)
        return cos[position_ids_BS], sin[position_ids_BS]

    def _covering(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        key = (like.device, like.dtype)
        if key not in self._tables or self._tables[key][0].shape[0] < length:
            capacity = max(_FIRST_POSITIONS, 1 << (length - 1).bit_length())
            with torch.inference_mode(False):
                exponents = torch.arange(0, self._head_dim, 2, device=like.device, dtype=torch.float32) / self._head_dim
                angles = torch.arange(capacity, device=like.device, dtype=torch.float32)[:, None] / self._theta**exponents
                angles = torch.cat((angles, angles), dim=-1)
                self._tables[key] = (angles.cos().to(like.dtype), angles.sin().to(like.dtype))
        return self._tables[key]


class Attention(nn.Module):
    """Grouped-query attention. ``wqkv`` rows are, per key/value head, its query heads, then k, then v."""

    is_causal = True

    def __init__(self, config: XComposer2Config, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        num_rows = (config.num_attention_heads + 2 * config.num_key_value_heads) * self.head_dim
        self.wqkv = PLoRALinear(
            config.hidden_size,
            num_rows,
            rank=config.plora_wqkv_rank,
            alpha=config.plora_wqkv_alpha,
            dropout=config.plora_dropout,
        )
        self.wo = _plora(config, config.num_attention_heads * self.head_dim, config.hidden_size)

    def forward(
        self,
        x_BSD: Tensor,
        rotary: tuple[Tensor, Tensor],
        attention_mask: Tensor | None,
        past_key_values: Cache | BlockedLayer | None,
        spans: VisualSpans | None,
        **kwargs: object,
    ) -> Tensor:
        batch, length, _ = x_BSD.shape
        groups = self.wqkv(x_BSD, spans).view(batch, length, -1, self.num_key_value_groups + 2, self.head_dim)
        query = groups[..., :-2, :].reshape(batch, length, -1, self.head_dim).transpose(1, 2)
        key, value = groups[..., -2, :].transpose(1, 2), groups[..., -1, :].transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        if isinstance(past_key_values, BlockedLayer):
            return self.wo(past_key_values.attend(query, key, value, self.scaling).flatten(2), None)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        if attention_mask is None and length > 1 and attends_without_mask(self.config, query, past_key_values):
            return self.wo(attend_without_mask(query, key, value, self.scaling).reshape(batch, length, -1), spans)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        out, _ = attend(self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs)
        return self.wo(out.reshape(batch, length, -1), spans)


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x)."""

    def __init__(self, config: XComposer2Config) -> None:
        super().__init__()
        self.w1 = _plora(config, config.hidden_size, config.intermediate_size)
        self.w3 = _plora(config, config.hidden_size, config.intermediate_size)
        self.w2 = _plora(config, config.intermediate_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, x_BSD: Tensor, spans: VisualSpans | None) -> Tensor:
        return self.w2(self.activation(self.w1(x_BSD, spans)) * self.w3(x_BSD, spans), spans)


class DecoderLayer(GradientCheckpointingLayer):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: XComposer2Config, layer_idx: int) -> None:
        super().__init__()
        self.attention = Attention(config, layer_idx)
        self.feed_forward = FeedForward(config)
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.ffn_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        x_BSD: Tensor,
        rotary: tuple[Tensor, Tensor],
        attention_mask: Tensor | None,
        past_key_values: Cache | BlockedLayer | None,
        spans: VisualSpans | None,
        **kwargs: object,
    ) -> Tensor:
        x_BSD = x_BSD + self.attention(self.attention_norm(x_BSD), rotary, attention_mask, past_key_values, spans, **kwargs)
        return x_BSD + self.feed_forward(self.ffn_norm(x_BSD), spans)


def _plora(config: XComposer2Config, in_features: int, out_features: int) -> PLoRALinear:
    return PLoRALinear(
        in_features, out_features, rank=config.plora_rank, alpha=config.plora_alpha, dropout=config.plora_dropout
    )
