"""Keys and values in fixed buffers, for decoding steps whose shapes and addresses never change.

Such a step can be captured as a CUDA graph. The buffers are made of blocks, so that the part in use is contiguous at every
length, and attention is two batched matrix products over (block, head): enough parallel work for a GPU at a batch of one, and
no read beyond the blocks in use. SDPA would take a mask for the unused tail, and with a mask its kernels give one GPU core all
the keys of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_POSITIONS = 256


@dataclass(frozen=True, slots=True)
class StepPlace:
    """Where one step writes and what it may see; the same for all layers. M blocks in use, K positions of a block."""

    block_1: Tensor
    offset_1: Tensor
    bias: Tensor
    """[M, 1, 1, K], float32: 0 for positions up to the step's own, minus infinity after it."""


@dataclass(frozen=True, slots=True)
class BlockedLayer:
    """One layer's keys and values [M, kv heads, K, head_dim], given to the layer in place of a cache."""

    keys: Tensor
    values: Tensor
    place: StepPlace

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Store the step's key and value [1, kv heads, 1, width]; query [1, heads, 1, width] -> [1, 1, heads, width]."""
        place = self.place
        self.keys[place.block_1, :, place.offset_1] = key[:, :, 0]
        self.values[place.block_1, :, place.offset_1] = value[:, :, 0]
        blocks, kv_heads, positions, width = self.keys.shape
        grouped = query.reshape(1, kv_heads, -1, width).expand(blocks, -1, -1, -1).reshape(blocks * kv_heads, -1, width)
        scores = torch.bmm(grouped, self.keys.view(-1, positions, width).transpose(1, 2))
        scores = scores.view(blocks, kv_heads, -1, positions).float() * scaling + place.bias
        weights = (scores - scores.amax((0, 3), keepdim=True)).exp()
        weights = (weights / weights.sum((0, 3), keepdim=True)).to(query.dtype)
        partial = torch.bmm(weights.view(blocks * kv_heads, -1, positions), self.values.view(-1, positions, width))
        return partial.view(blocks, -1, width).float().sum(0).to(query.dtype)[None, None]


class BlockedCache:
    """All layers' buffers for ``capacity`` positions (rounded up to whole blocks), zero where nothing is: unused places meet a
    weight of 0, and 0 times NaN, uninitialised or left by an answer that overflowed, would still be NaN.

    ``token_1`` and ``position_1`` are the step's input. ``rotary_tables`` (cos and sin of at least so many positions) are kept
    here, since a captured step reads them where they were.
    """

    def __init__(
        self, num_layers: int, kv_heads: int, capacity: int, rotary_tables: tuple[Tensor, Tensor], like: Tensor
    ) -> None:
        device, dtype, head_dim = like.device, like.dtype, rotary_tables[0].shape[-1]
        self.num_blocks = blocks_for(capacity)
        self._rotary_tables = rotary_tables
        shape = (self.num_blocks, kv_heads, BLOCK_POSITIONS, head_dim)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(num_layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(num_layers)]
        self.token_1 = torch.zeros(1, dtype=torch.long, device=device)
        self.position_1 = torch.zeros(1, dtype=torch.long, device=device)
        self._positions_M11K = torch.arange(self.capacity, device=device).view(-1, 1, 1, BLOCK_POSITIONS)

    @property
    def capacity(self) -> int:
        return self.num_blocks * BLOCK_POSITIONS

    @property
    def num_bytes(self) -> int:
        return 2 * len(self.keys) * self.keys[0].numel() * self.keys[0].element_size()

    def rotary(self) -> tuple[Tensor, Tensor]:
        """cos and sin at ``position_1``, [1, 1, head_dim] each."""
        cos, sin = self._rotary_tables
        return cos[self.position_1][None], sin[self.position_1][None]

    def place(self, num_blocks: int) -> StepPlace:
        """Where the step at ``position_1`` writes when ``num_blocks`` blocks are in use; computed on the device."""
        unseen = self._positions_M11K[:num_blocks] > self.position_1
        bias = torch.zeros(unseen.shape, device=unseen.device).masked_fill_(unseen, -torch.inf)
        return StepPlace(self.position_1 // BLOCK_POSITIONS, self.position_1 % BLOCK_POSITIONS, bias)

    def layer(self, index: int, place: StepPlace) -> BlockedLayer:
        """One layer at as many blocks as ``place`` covers."""
        num_blocks = place.bias.shape[0]
        return BlockedLayer(self.keys[index][:num_blocks], self.values[index][:num_blocks], place)

    def write(self, index: int, keys_HSD: Tensor, values_HSD: Tensor, num_blocks: int) -> None:
        """Put a layer's first S positions in, and zeros into the rest of as many blocks as will be read."""
        for blocks, states_HSD in ((self.keys[index], keys_HSD), (self.values[index], values_HSD)):
            whole, rest = divmod(states_HSD.shape[1], BLOCK_POSITIONS)
            split = whole * BLOCK_POSITIONS
            blocks[:whole] = states_HSD[:, :split].unflatten(1, (whole, BLOCK_POSITIONS)).transpose(0, 1)
            blocks[whole : whole + 1, :, :rest] = states_HSD[:, split:]
            blocks[whole : whole + 1, :, rest:] = 0
            blocks[whole + 1 : num_blocks] = 0

    def read(self, index: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """A layer's keys and values of positions ``start`` to ``stop``, [1, kv heads, stop - start, head_dim] each."""
        first, last = start // BLOCK_POSITIONS, blocks_for(stop)
        inside = slice(start - first * BLOCK_POSITIONS, stop - first * BLOCK_POSITIONS)
        flat = (blocks[first:last].transpose(0, 1).flatten(1, 2) for blocks in (self.keys[index], self.values[index]))
        keys, values = (states_HSD[None, :, inside] for states_HSD in flat)
        return keys, values


def blocks_for(num_positions: int) -> int:
    """Blocks that hold so many positions."""
    return -(-num_positions // BLOCK_POSITIONS)
