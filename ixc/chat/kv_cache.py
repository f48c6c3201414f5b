"""A key/value cache written in place: no concatenation at each token, and cutting off a tail costs nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

ANSWER_ROOM = 256
"""Positions of a new cache beyond its prompt: most answers fit, so that nothing is copied while they are streamed.

A longer answer grows its cache by as much again, each time: a share of a long prompt would be more than anybody counted on.
"""


class InPlaceLayer(CacheLayerMixin):
    """Keys and values of one layer, [B, kv heads, capacity, head_dim], of which the first ``length`` positions are used."""

    is_sliding = False
    is_croppable = True

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (_buffer_like(states, self.capacity) for states in (key_states, value_states))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Append [B, kv heads, new, head_dim]; returns views of all used positions."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        stop = self.length + key_states.shape[-2]
        if stop > self.capacity:
            self._grow(max(stop, self.capacity + ANSWER_ROOM))
        self.keys[:, :, self.length : stop] = key_states
        self.values[:, :, self.length : stop] = value_states
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def _grow(self, capacity: int) -> None:
        """All or nothing, also where memory runs out."""
        grown = []
        for old in (self.keys, self.values):
            new = _buffer_like(old, capacity)
            new[:, :, : self.length] = old[:, :, : self.length]
            grown.append(new)
        self.keys, self.values = grown
        self.capacity = capacity

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``-tokens_to_remove`` positions (a number at most 0, as in transformers)."""
        self.length = max(0, self.length + min(tokens_to_remove, 0))


class InPlaceCache(Cache):
    """One ``InPlaceLayer`` per decoder layer; batch size 1 in this project."""

    def __init__(self, num_layers: int, capacity: int) -> None:
        super().__init__(layers=[InPlaceLayer(capacity) for _ in range(num_layers)])

    @property
    def length(self) -> int:
        return self.layers[0].length

    @property
    def is_whole(self) -> bool:
        """Whether all layers hold as many positions. After a pass that broke off the first ones hold more than the last."""
        return all(layer.length == self.length for layer in self.layers)

    @property
    def capacity(self) -> int:
        """Positions there is room for."""
        return self.layers[0].capacity

    @property
    def num_bytes(self) -> int:
        """Memory held, unused capacity included."""
        tensors = [t for layer in self.layers for t in (layer.keys, layer.values) if t is not None]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` positions."""
        for layer in self.layers:
            layer.crop(min(length - layer.length, 0))

    def reserve(self, capacity: int) -> None:
        """Make room for ``capacity`` positions where there is less: what is held is copied once, with no more to spare."""
        for layer in self.layers:
            if layer.is_initialized and layer.capacity < capacity:
                layer._grow(capacity)

    def shrink_to_fit(self, max_spare: float = 0.0) -> None:
        """Give unused capacity back, before the cache is kept for later.

        Nothing is copied for what is at most ``max_spare`` times the capacity in use: the next turn grows into it.
        """
        for layer in self.layers:
            if layer.is_initialized and layer.capacity > layer.length * (1 + max_spare):
                layer._grow(layer.length)

    def repeated(self, num_beams: int) -> DynamicCache:
        """A copy for beam search, each position ``num_beams`` times along the batch."""
        copy = DynamicCache()
        for index, layer in enumerate(self.layers):
            copy.update(
                layer.keys[:, :, : layer.length].repeat_interleave(num_beams, 0),
                layer.values[:, :, : layer.length].repeat_interleave(num_beams, 0),
                index,
            )
        return copy


def _buffer_like(states: Tensor, capacity: int) -> Tensor:
    batch, heads, _, head_dim = states.shape
    return torch.empty(batch, heads, capacity, head_dim, dtype=states.dtype, device=states.device)
