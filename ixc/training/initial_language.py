"""How the language model's weights start: it knows its letters, and some of its heads look back or point at characters.

What takes small language models longest is to find out that the token before matters, and that a text can be followed by
matching what was just said (Olsson et al., In-context Learning and Induction Heads, arXiv 2209.11895). Here both are only a
starting point and train like everything else: after equally many short steps two thirds of the answers' characters were right
where half of them were without.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ixc.models.xcomposer2 import InternLM2Tokenizer, XComposer2ForCausalLM
from ixc.training.codebook import CODE_RMS, CONSTANT, Codebook
from ixc.training.initial import layer_after_deepening
from ixc.training.wording import CHARACTERS

LOOKS_BACK = ((1, 1, 2, 3), (1, 2))
"""For the first layers, how many tokens back their first heads look."""
SHARPNESS = (1.6, 2.0)
NUM_FAST_PAIRS = 4
"""Pairs of rotary channels that turn fast enough to tell neighbours apart."""
PREPARED_DEPTH = 6
"""The number of layers that the next two are meant for."""
COPYING_LAYERS = (3, 4)
POINTING_LAYERS = (2, COPYING_LAYERS[-1])
MATCHING_FROM_PAIR = 10
"""First pair that turns so slowly (with rope_theta 1e8) that contents can be matched over a whole document."""
MATCHING_WEIGHT, COPYING_WEIGHT, OTHERWISE = 1.1, 0.6, 0.3


def pointing_layers(num_layers: int) -> tuple[int, int]:
    """The layers whose heads are taught where to look, each when a character of its slot comes next.

    The early one can only match what was just said; what lies between tells every token where those before it looked, so that
    the late one goes on from there, and finds the cell where a row that was named and a column that was named cross. In a
    deeper model both stand where ``start_from`` puts those of a model of ``PREPARED_DEPTH``.
    """
    early, late = _placed(POINTING_LAYERS, num_layers)
    return early, late


def binding_layer(num_layers: int) -> int:
    """The layer whose last head is taught to look at what a text belongs to: the next one after the early pointing layer."""
    return pointing_layers(num_layers)[0] + 1


def _placed(layers: tuple[int, ...], num_layers: int) -> tuple[int, ...]:
    return tuple(layer_after_deepening(layer, PREPARED_DEPTH, max(num_layers, PREPARED_DEPTH)) for layer in layers)


@torch.no_grad()
def prepare_reading(model: XComposer2ForCausalLM, tokenizer: InternLM2Tokenizer, codebook: Codebook) -> None:
    """Change the fresh weights of ``model`` in place. Where heads share keys, only the letters are prepared."""
    _learn_letters(model, tokenizer, codebook)
    if model.config.num_key_value_heads == model.config.num_attention_heads:
        _look_back(model)
        _copy_characters(model, codebook)


def _learn_letters(model: XComposer2ForCausalLM, tokenizer: InternLM2Tokenizer, codebook: Codebook) -> None:
    """A letter's embedding is its code in every slot, and the output looks for it in all of them."""
    embeddings, output = model.model.tok_embeddings.weight, model.output.weight
    share, num_slots = codebook.share, codebook.num_slots
    for index, char in enumerate(CHARACTERS):
        token = tokenizer.convert_tokens_to_ids("\u2581" if char == " " else char)
        code = codebook.codes_KVD[0, index + 1, :share]
        for slot in range(num_slots):
            embeddings[token, slot * share : (slot + 1) * share] = code
            output[token, slot * share : (slot + 1) * share] = code / CODE_RMS / (share * num_slots) ** 0.5
    embeddings[:, -1] = CONSTANT


def _look_back(model: XComposer2ForCausalLM) -> None:
    """Heads whose query and key hold nothing but the constant channel, turned so that they meet some tokens apart."""
    for layer, offsets, sharpness in zip(model.model.layers, LOOKS_BACK, SHARPNESS, strict=False):
        heads = _heads(layer.attention)
        rates = _rates(model)[:NUM_FAST_PAIRS]
        half = heads.shape[2] // 2
        for head, offset in enumerate(offsets[: len(heads)]):
            heads[head, :2] = 0
            heads[head, 0, :NUM_FAST_PAIRS, -1] = sharpness * torch.cos(offset * rates)
            heads[head, 0, half : half + NUM_FAST_PAIRS, -1] = -sharpness * torch.sin(offset * rates)
            heads[head, 1, :NUM_FAST_PAIRS, -1] = sharpness


def _copy_characters(model: XComposer2ForCausalLM, codebook: Codebook) -> None:
    """Heads that carry one slot's character to the output, and look for cells whose character before is the last one said."""
    share = codebook.share
    for number in _placed(COPYING_LAYERS, len(model.model.layers)):
        if number >= len(model.model.layers):
            continue
        attention = model.model.layers[number].attention
        heads, width = _heads(attention), attention.head_dim
        size = min(share, width)
        slow = [each for each in range(width) if each % (width // 2) >= MATCHING_FROM_PAIR][:share]
        for slot in range(min(codebook.num_slots, len(heads))):
            heads[slot, 2] = 0
            heads[slot, 2, :size, slot * share : slot * share + size] = torch.eye(size)
            columns = slice(slot * width, slot * width + size)
            attention.wo.weight[:, slot * width : (slot + 1) * width] = 0
            for other in range(codebook.num_slots):
                attention.wo.weight[other * share : other * share + size, columns] = COPYING_WEIGHT * torch.eye(size)
            if slot == 0:
                continue  # the character before stands in the cell before
            heads[slot, :2] *= OTHERWISE
            for place, channel in enumerate(slow):
                heads[slot, :2, channel] = 0
                heads[slot, 0, channel, place] = MATCHING_WEIGHT
                heads[slot, 1, channel, (slot - 1) * share + place] = MATCHING_WEIGHT


def _heads(attention: torch.nn.Module) -> Tensor:
    """A view on ``wqkv``: [heads, 3 (query, key, value), channels of a head, D]."""
    return attention.wqkv.weight.view(-1, 3, attention.head_dim, attention.wqkv.in_features)


def _rates(model: XComposer2ForCausalLM) -> Tensor:
    config = model.config
    return config.rope_theta ** (-torch.arange(0, config.head_dim, 2).float() / config.head_dim)
