"""Decoding in steps of fixed shapes over fixed buffers: eager anywhere, as CUDA graphs and compiled on a GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ixc.chat.cuda_graphs import GraphPool
from ixc.chat.kv_cache import InPlaceCache
from ixc.errors import SettingsError
from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.models.xcomposer2.blocked_cache import BLOCK_POSITIONS, BlockedCache, blocks_for
from ixc.models.xcomposer2.modeling import run_layer

logger = logging.getLogger(__name__)

BLOCKS_PER_LENGTH = 4
"""Steps exist for every fourth number of blocks, 1,024 positions: at most that much is read beyond the positions in use."""


class DecodeMode(StrEnum):
    """What ``IXC_DECODE`` may be. AUTO is COMPILED on a GPU and DYNAMIC elsewhere; a mode that fails falls back to the next.

    COMPILED fuses a layer's small kernels (and int8's conversion into its matrix product) and captures the step; GRAPHS
    captures it as it is; STATIC runs it uncaptured; DYNAMIC works on the session's cache, by ``TokenStep`` or, where
    there is none, by the model's ordinary forward.
    """

    AUTO = "auto"
    COMPILED = "compiled"
    GRAPHS = "graphs"
    STATIC = "static"
    DYNAMIC = "dynamic"


def parse_decode_mode(name: str) -> DecodeMode:
    """Raises SettingsError naming the choices."""
    try:
        return DecodeMode(name)
    except ValueError:
        raise SettingsError(f"IXC_DECODE must be one of {', '.join(DecodeMode)}, not {name!r}.") from None


_FALL_BACK = {DecodeMode.COMPILED: DecodeMode.GRAPHS, DecodeMode.GRAPHS: None, DecodeMode.STATIC: None}


class StaticDecoder:
    """One answer at a time, over buffers of its own: the prompt's keys and values are copied in, the answer's out.

    Raises ValueError in ``decoding`` when its steps do not fit ``capacity``.
    """

    def __init__(self, model: XComposer2ForCausalLM, capacity: int, mode: DecodeMode) -> None:
        self.mode = mode
        self._model = model
        self._run_layer: Callable = run_layer
        if mode is DecodeMode.COMPILED:
            # Coordinate descent lets Inductor write a matrix-vector product of its own, which reads int8 weights as they are.
            self._run_layer = torch.compile(run_layer, fullgraph=True, options={"coordinate_descent_tuning": True})
        config = model.config
        with _plain_tensors():
            like = torch.empty(0, device=model.device, dtype=model.dtype)
            tables = model.model.rotary.tables(blocks_for(capacity) * BLOCK_POSITIONS, like)
            self._cache = BlockedCache(config.num_hidden_layers, config.num_key_value_heads, capacity, tables, like)
            self._logits_V = torch.zeros(config.vocab_size, device=model.device)
        self._graphs = GraphPool(model.device) if mode in (DecodeMode.COMPILED, DecodeMode.GRAPHS) else None
        self._steps: dict[int, Callable[[], None]] = {}

    @property
    def capacity(self) -> int:
        return self._cache.capacity

    @property
    def num_bytes(self) -> int:
        return self._cache.num_bytes

    def prepare(self) -> None:
        """Make the steps for all lengths, compiling and capturing. Takes from a second to minutes; raises what that raises."""
        with _plain_tensors():
            for num_blocks in {self._steps_blocks(length) for length in range(1, self.capacity + 1)}:
                self._steps[num_blocks] = self._make_step(num_blocks)

    @contextmanager
    def decoding(self, cache: InPlaceCache, num_steps: int) -> Iterator[Callable[[Tensor], Tensor]]:
        """Gives a function, for at most ``num_steps`` calls, from a token [1] to the next float32 logits [V], valid until then.

        ``cache`` holds the prompt; afterwards also the tokens that were given to the function.
        """
        start = position = cache.length
        if start + num_steps > self.capacity:
            raise ValueError(f"{start} + {num_steps} positions do not fit {self.capacity}")

        def step(token_1: Tensor) -> Tensor:
            nonlocal position
            with _plain_tensors():
                self._cache.token_1.copy_(token_1)
                num_blocks = self._steps_blocks(position + 1)
                if num_blocks not in self._steps:
                    self._steps[num_blocks] = self._make_step(num_blocks)
                self._steps[num_blocks]()
            position += 1
            return self._logits_V

        num_blocks = self._steps_blocks(start + num_steps)
        with _plain_tensors():
            for index, layer in enumerate(cache.layers):
                self._cache.write(index, layer.keys[0, :, :start], layer.values[0, :, :start], num_blocks)
            self._cache.position_1.fill_(start)
        try:
            yield step
        finally:
            if position > start:
                for index in range(len(cache.layers)):
                    cache.update(*self._cache.read(index, start, position), index)

    def _make_step(self, num_blocks: int) -> Callable[[], None]:
        def step() -> None:
            hidden_D = self._model.model.decode_step(self._cache, num_blocks, self._run_layer)
            self._logits_V.copy_(self._model.output(hidden_D))
            self._cache.position_1.add_(1)

        if self._graphs is None:
            return step
        position_1 = self._cache.position_1.clone()
        replay = self._graphs.capture(step)
        self._cache.position_1.copy_(position_1)  # the trial runs moved it on; what they wrote is written again or never seen
        return replay

    def _steps_blocks(self, num_positions: int) -> int:
        lengths = -(-blocks_for(num_positions) // BLOCKS_PER_LENGTH)
        return min(lengths * BLOCKS_PER_LENGTH, self._cache.num_blocks)


def has_static_step(model: PreTrainedModel) -> bool:
    """Whether this kind of model can decode over fixed buffers at all."""
    return hasattr(model.model, "decode_step")


def make_static_decoder(model: XComposer2ForCausalLM, capacity: int, mode: DecodeMode) -> StaticDecoder | None:
    """A decoder that is ready to run, in ``mode`` or what it falls back to; None: decode dynamically."""
    if mode is DecodeMode.AUTO:
        mode = DecodeMode.COMPILED if model.device.type == "cuda" else DecodeMode.DYNAMIC
    is_captured = mode in (DecodeMode.COMPILED, DecodeMode.GRAPHS)
    if is_captured and model.device.type != "cuda":
        logger.warning("decoding without CUDA graphs: the model is on the %s", model.device.type)
        return None
    if mode is not DecodeMode.DYNAMIC and len(set(getattr(model, "hf_device_map", {"": 0}).values())) > 1:
        logger.warning("decoding without fixed buffers: the model is spread over several devices")
        return None
    if mode is not DecodeMode.DYNAMIC and not has_static_step(model):
        logger.info("decoding without fixed buffers: this kind of model has no such step")
        return None
    while mode is not None and mode is not DecodeMode.DYNAMIC:
        try:
            decoder = StaticDecoder(model, capacity, mode)
            decoder.prepare()
        except Exception as error:  # noqa: BLE001 - compilers and drivers raise anything; there is always a slower way
            logger.warning("decoding as %s is not possible here: %s: %s", mode, type(error).__name__, _first_line(error))
            decoder, mode = None, _FALL_BACK[mode]  # its buffers go before the next one takes as much
        else:
            return decoder
    return None


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """No gradients, but ordinary tensors: inference tensors could not be shared by graphs that other threads captured."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
