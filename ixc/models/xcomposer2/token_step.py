"""One new token through the language model on a CPU in float32, in a third of the operations.

A small model's step costs as much for starting operations as for reading its weights and a cache of a thousand positions. This
is ``InternLM2Model.forward`` for a single text token, where there is no mask and no Partial LoRA: one rotation for queries and
keys together, residuals added within the products, attention by two products of all heads. SDPA's kernel, made for many
queries, takes up to twice as long over the same keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.cache_utils import Cache

from ixc.models.xcomposer2.language import DecoderLayer, PLoRALinear
from ixc.models.xcomposer2.modeling import InternLM2Model


def has_token_step(model: nn.Module) -> bool:
    """Whether ``TokenStep`` computes what ``model`` would: this kind of model, whole on a CPU, float32, not quantised."""
    if not isinstance(model, InternLM2Model):
        return False
    return all(
        type(weight) is nn.Parameter and weight.device.type == "cpu" and weight.dtype == torch.float32
        for weight in model.parameters()
    ) and all(type(linear) is PLoRALinear for layer in model.layers for linear in _linears(layer))


class TokenStep:
    """Runs tokens of one answer. Holds the weights as they are now: make one for each answer."""

    def __init__(self, model: InternLM2Model) -> None:
        self._model = model
        self._layers = [_Layer.of(layer) for layer in model.layers]

    @torch.no_grad()
    def __call__(self, token_id: int, cache: Cache) -> Tensor:
        """Run a text token at the position after ``cache``, which grows by it -> hidden state after the final norm [1, D]."""
        model = self._model
        position = cache.get_seq_length()
        cos, sin = model.rotary.tables(position + 1, model.tok_embeddings.weight)
        rotary = _rotary_of_pairs(cos[position], sin[position])
        x_1D = model.tok_embeddings.weight[token_id : token_id + 1]
        for index, layer in enumerate(self._layers):
            x_1D = layer.run(x_1D, rotary, cache, index)
        return model.norm(x_1D)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A decoder layer's weights. ``wo`` and ``w2`` are transposed views [in, out], for products with a sum."""

    attention_norm: Tensor
    wqkv: Tensor
    wo: Tensor
    ffn_norm: Tensor
    w1: Tensor
    w3: Tensor
    w2: Tensor
    activation: nn.Module
    eps: float
    head_dim: int
    num_groups: int
    scaling: float

    @classmethod
    def of(cls, layer: DecoderLayer) -> _Layer:
        attention, feed_forward = layer.attention, layer.feed_forward
        return cls(
            attention_norm=layer.attention_norm.weight,
            wqkv=attention.wqkv.weight,
            wo=attention.wo.weight.t(),
            ffn_norm=layer.ffn_norm.weight,
            w1=feed_forward.w1.weight,
            w3=feed_forward.w3.weight,
            w2=feed_forward.w2.weight.t(),
            activation=feed_forward.activation,
            eps=layer.ffn_norm.eps,
            head_dim=attention.head_dim,
            num_groups=attention.num_key_value_groups,
            scaling=attention.scaling,
        )

    def run(self, x_1D: Tensor, rotary: tuple[Tensor, Tensor], cache: Cache, index: int) -> Tensor:
        """As ``DecoderLayer.forward`` of one position, [1, D] -> [1, D]."""
        x_1D = torch.addmm(x_1D, self._attend(self._norm(x_1D, self.attention_norm), rotary, cache, index), self.wo)
        normed_1D = self._norm(x_1D, self.ffn_norm)
        gated = self.activation(F.linear(normed_1D, self.w1)).mul_(F.linear(normed_1D, self.w3))
        return torch.addmm(x_1D, gated, self.w2)

    def _attend(self, x_1D: Tensor, rotary: tuple[Tensor, Tensor], cache: Cache, index: int) -> Tensor:
        """Before ``wo``: [1, heads * head_dim]. G key/value heads, each with its queries, then key, then value."""
        cos, sin = rotary
        groups_GMW = F.linear(x_1D, self.wqkv).view(-1, self.num_groups + 2, self.head_dim)
        turned_GMW = groups_GMW[:, :-1]  # queries and key
        turned_GMW = torch.addcmul(turned_GMW * cos, turned_GMW.roll(self.head_dim // 2, -1), sin)
        key, value = turned_GMW[None, :, -1:], groups_GMW[None, :, -1:]
        keys, values = cache.update(key, value, index)  # [1, G, positions, head_dim], views of what is used
        # Keys times queries, for MKL is slower the other way round.
        scores_GMK = torch.bmm(keys[0], turned_GMW[:, :-1].transpose(1, 2)).mul_(self.scaling).transpose(1, 2)
        return torch.bmm(scores_GMK.softmax(-1), values[0]).view(1, -1)

    def _norm(self, x_1D: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x_1D, weight.shape, weight, self.eps)


def _rotary_of_pairs(cos_W: Tensor, sin_W: Tensor) -> tuple[Tensor, Tensor]:
    """For x * cos + (x rolled by half its width) * sin: the half that the rotation subtracts has its sign in ``sin``."""
    half = sin_W.shape[0] // 2
    return cos_W, torch.cat((-sin_W[:half], sin_W[half:]))


def _linears(layer: DecoderLayer) -> tuple[nn.Module, ...]:
    attention, feed_forward = layer.attention, layer.feed_forward
    return attention.wqkv, attention.wo, feed_forward.w1, feed_forward.w3, feed_forward.w2
