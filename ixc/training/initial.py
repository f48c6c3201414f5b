"""How the small model's weights start: ordinary random matrices, but eyes that see and know where they look.

The patch embedding starts as cosine filters (so that no detail is lost), the position embeddings as sines of row and column
(so that neighbours are near); both then train like everything else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionModel

from ixc.errors import CheckpointError
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ForCausalLM

TEXT_EMBEDDING_STD = 0.5
NUM_POSITION_CHANNELS = 32
LOOK_SHARPNESS = 2.0
LOOKS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (0, 2), (0, -2), (1, 1), (-1, -1), (1, -1), (-1, 1))
"""Where heads look at first, (down, right) in patches, dealt out in turn."""
EYES = ("vit.", "vision_proj.", "plora_")
"""Names of the weights that see: vision tower, projector, newline and separator."""
CHROMA_SHARE = 5
"""One filter in this many looks at colour, the others at brightness."""


def initial_model(config: XComposer2Config, seed: int) -> XComposer2ForCausalLM:
    """A fresh model, the same for the same seed. The global random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = XComposer2ForCausalLM(config)
        model.float()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.startswith(("model.layers", "vision_proj")) and parameter.ndim == 2:
                    nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
                if "Plora_B" in name:
                    nn.init.zeros_(parameter)
            nn.init.normal_(model.model.tok_embeddings.weight, std=TEXT_EMBEDDING_STD)
            _open_eyes(model.vit.clip)
    return model


def start_from(model: XComposer2ForCausalLM, folder: Path, parts: tuple[str, ...] = ("",)) -> None:
    """Take over the weights of an earlier, perhaps shallower model; layers it lacks are put between its own and do nothing yet.

    ``parts``: beginnings of the names of those weights that are meant.

    Raises CheckpointError when the folder holds no such weights, not all of them, a deeper model's, or others' shapes differ.
    """
    try:
        weights = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError):
        raise CheckpointError(f"There are no weights to start from in {folder}; correct the configuration.") from None
    own, num_layers = model.state_dict(), len(model.model.layers)
    num_earlier = 1 + max((int(name.split(".")[2]) for name in weights if name.startswith("model.layers.")), default=-1)
    if num_earlier > num_layers:
        raise CheckpointError(f"The model in {folder} has {num_earlier} layers; {num_layers} cannot start from it.")
    places = [layer_after_deepening(index, num_earlier, num_layers) for index in range(num_earlier)]
    moved = {_moved(name, places): value for name, value in weights.items() if name.startswith(parts)}
    new_layers = tuple(f"model.layers.{index}." for index in set(range(num_layers)) - set(places))
    missing = [name for name in own if name.startswith(parts) and not name.startswith(new_layers) and name not in moved]
    if missing:
        raise CheckpointError(f"The model in {folder} has no {missing[0]}; start from one of the same kind.")
    for layer in new_layers if "" in parts else ():
        for name in ("attention.wo.weight", "feed_forward.w2.weight"):
            moved[layer + name] = torch.zeros_like(own[layer + name])
    try:
        model.load_state_dict(moved, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in {folder} do not fit this configuration: {str(error).splitlines()[1].strip()}"
        ) from None


def layer_after_deepening(index: int, num_earlier: int, num_layers: int) -> int:
    """Where layer ``index`` of a model with ``num_earlier`` layers stands among ``num_layers``: the new ones lie between."""
    return round((index + 0.5) * num_layers / num_earlier - 0.5)


def _moved(name: str, places: Sequence[int]) -> str:
    parts = name.split(".")
    if name.startswith("model.layers."):
        parts[2] = str(places[int(parts[2])])
    return ".".join(parts)


def cosine_filters(num_filters: int, side: int) -> Tensor:
    """Filters [num_filters, 3, side, side]: the lowest two-dimensional cosines, high ones amplified as images lack them."""
    places = torch.arange(side).float() + 0.5
    basis = torch.stack([torch.cos(math.pi * f * places / side) for f in range(side)])
    basis = basis / basis.norm(dim=1, keepdim=True)
    order = sorted(((u, v) for u in range(side) for v in range(side)), key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
    colours = torch.tensor([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]).float()
    colours = colours / colours.norm(dim=1, keepdim=True)
    filters = torch.empty(num_filters, 3, side, side)
    counts = [0, 0, 0]
    for index in range(num_filters):
        channel = 1 + (index // CHROMA_SHARE) % 2 if index % CHROMA_SHARE == CHROMA_SHARE - 1 else 0
        u, v = order[counts[channel] % len(order)]
        counts[channel] += 1
        gain = 0.1 * (1 + math.hypot(u, v)) if (u, v) != (0, 0) else 0.03
        filters[index] = gain * colours[channel][:, None, None] * torch.outer(basis[u], basis[v])
    return filters


def _open_eyes(clip: CLIPVisionModel) -> None:
    """Cosine filters, sine positions in channels of their own, and heads that look at a neighbour each.

    Attention that has to discover from nothing that neighbours matter needs far more images (d'Ascoli et al., ConViT,
    arXiv 2103.10697, for whom this was a gate; here it is only the starting point).
    """
    config, embeddings = clip.config, clip.embeddings
    num_filters = config.hidden_size - NUM_POSITION_CHANNELS
    embeddings.patch_embedding.weight.zero_()
    embeddings.patch_embedding.weight[:num_filters] = cosine_filters(num_filters, config.patch_size)
    embeddings.position_embedding.weight.zero_()
    waves = _sine_positions(math.isqrt(embeddings.num_patches))
    embeddings.position_embedding.weight[1:, num_filters:] = waves
    head_dim = config.hidden_size // config.num_attention_heads
    offsets = iter(itertools.cycle(LOOKS))
    for layer in clip.encoder.layers:
        attention = layer.self_attn
        for weight in (attention.q_proj.weight, attention.k_proj.weight):
            weight.mul_(0.1)
        for head in range(config.num_attention_heads):
            rows = slice(head * head_dim, head * head_dim + NUM_POSITION_CHANNELS)
            attention.q_proj.weight[rows, num_filters:] += LOOK_SHARPNESS * _turned_by(*next(offsets))
            attention.k_proj.weight[rows, num_filters:] += torch.eye(NUM_POSITION_CHANNELS)
        for weight in (attention.out_proj.weight, layer.mlp.fc2.weight):
            weight[num_filters:] *= 0.1  # keep the position channels clean at first


def _sine_positions(side: int) -> Tensor:
    """[side*side, NUM_POSITION_CHANNELS]: for row, then for column, the sines and then the cosines at every rate."""
    angles = torch.arange(side).float()[:, None] * _rates()
    waves = torch.cat((angles.sin(), angles.cos()), dim=1)
    rows, cols = waves[:, None].expand(side, side, -1), waves[None].expand(side, side, -1)
    return torch.cat((rows, cols), dim=-1).reshape(side * side, -1)


def _turned_by(down: int, right: int) -> Tensor:
    """The matrix that turns the position waves of a patch into those of the patch ``down`` and ``right`` of it."""
    blocks = []
    for steps in (down, right):
        cos, sin = torch.diag(torch.cos(steps * _rates())), torch.diag(torch.sin(steps * _rates()))
        blocks.append(torch.cat((torch.cat((cos, sin), 1), torch.cat((-sin, cos), 1))))
    return torch.block_diag(*blocks)


def _rates() -> Tensor:
    return torch.logspace(math.log10(2.2), math.log10(0.13), NUM_POSITION_CHANNELS // 4)
