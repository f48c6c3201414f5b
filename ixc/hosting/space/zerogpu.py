"""ZeroGPU: a Space without a GPU of its own, lent one for the length of each answer.

The model is loaded in the main process, where the ``spaces`` package stands in for CUDA, and handed to a forked worker when an
answer begins. So nothing of an engine that has threads or locks may be made before the fork: each worker makes its own from the
parts it inherited. Requests go in and events come out through pipes; a worker that already answered this conversation still has
its prefix, another one fills it anew, which the engine does by itself when its store has none.
"""

from __future__ import annotations

import logging
import math
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

import ixc.errors
from ixc.application.engine_provider import EngineProvider
from ixc.application.model_choice import offering_one_model
from ixc.application.services import Services
from ixc.chat.costs import CostModel
from ixc.chat.engine import Engine
from ixc.chat.events import Event
from ixc.chat.interface import ChatEngine, CostEstimate
from ixc.chat.loading import VIEWS_PER_PASS, load_engine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.chat.runner import ModelRunner
from ixc.errors import EmptyQuestion, EngineBusy, GpuUnavailable, IxcError, SettingsError
from ixc.hosting.space.hardware import ZERO_GPU_CHUNK_TOKENS
from ixc.models.precision import Precision, parse_precision, weight_bytes
from ixc.models.xcomposer2 import XComposer2Processor
from ixc.settings import CacheLimits, Settings
from ixc.single_view import ImagePlan

logger = logging.getLogger(__name__)

_WORKER_CACHE = CacheLimits(max_bytes=8 * 1024**3, max_age_s=300.0, max_sessions=16)
"""A worker is not told when a page closes until its next answer, so it forgets by itself soon."""
_NUM_FLAGS, _NUM_REMEMBERED = 256, 256
_DEVICE_NAME = "ZeroGPU"

_VISION_TOWERS = ("vit.", "vision_tower.")
"""In the names of the weights that see patches, not tokens."""

# What ZeroGPU takes for an answer; assumed on the careful side, since a duration that is too short ends the answer.
_SETUP_S = 3.0
_MOVED_BYTES_PER_S = 2e9
_FLOP_PER_S = 60e12
_READ_BYTES_PER_S = 0.6e12
_TOKEN_OVERHEAD_S = 0.006
_MIN_DURATION_S, _MAX_DURATION_S = 10, 80
"""Visitors without an account have two minutes a day, and ``spaces`` asks for half as much again on the smaller GPUs."""

Decorate = Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]]


def start_services(settings: Settings) -> Services:
    """Load the model in this thread, where ``spaces`` emulates CUDA, and before the page is launched, which packs it."""
    import spaces  # only on ZeroGPU: it patches PyTorch

    settings = offering_one_model(settings)  # no other could be loaded later
    engine = load_zero_gpu_engine(settings, spaces.GPU, device="cuda")
    return Services.start(settings, EngineProvider(settings, load=lambda _, on_progress: engine))


def load_zero_gpu_engine(settings: Settings, decorate: Decorate, device: str) -> ZeroGpuEngine:
    """``decorate`` is ``spaces.GPU``. ``device`` is where workers run the model. Raises CheckpointError or SettingsError."""
    if settings.precision == Precision.INT4:  # torchao packs it for the device it is made on, and that is no GPU yet
        raise SettingsError("On ZeroGPU int4 weights cannot be used; set IXC_PRECISION to int8 or leave it out.")
    loaded = load_engine(replace(settings, device="cpu", decode="dynamic"), measure=False)  # compiling is not supported there
    loaded.close()
    model = loaded.runner.model.to(device)
    chunk_tokens = settings.prefill_chunk_tokens or ZERO_GPU_CHUNK_TOKENS
    chunks = {"prefill_chunk_tokens": chunk_tokens, "views_per_pass": VIEWS_PER_PASS["cuda"]}
    loaded.info = replace(loaded.info, device=_DEVICE_NAME)
    parts = EngineParts(
        ModelRunner(model, stop_ids=loaded.runner.stop_ids, **chunks),
        loaded.processor,
        CostModel(model, **chunks),
        replace(settings, cache=_WORKER_CACHE),
        weight_bytes(model, parse_precision(settings.precision), model.dtype),
    )
    return ZeroGpuEngine(loaded, parts, decorate)


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What a worker inherits: nothing with a thread or a lock."""

    runner: ModelRunner
    processor: XComposer2Processor
    costs: CostModel
    settings: Settings
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An error on its way out of a worker: of an exception, ``spaces`` would tell the class's name only."""

    kind: str
    sentence: str

    def as_error(self) -> IxcError:
        kind = getattr(ixc.errors, self.kind, IxcError)
        return kind(self.sentence)


class SharedFlags:
    """Stop flags that a worker forked later can read: bytes in memory that both processes map."""

    def __init__(self, num_flags: int = _NUM_FLAGS) -> None:
        self._memory = mmap.mmap(-1, num_flags)
        self._free = deque(range(num_flags))

    def take(self) -> int:
        """A flag that is not set. Raises EngineBusy."""
        try:
            index = self._free.popleft()
        except IndexError:
            raise EngineBusy("Too many questions are being answered; try again in a moment.") from None
        self._memory[index] = 0
        return index

    def give_back(self, index: int) -> None:
        self._free.append(index)

    def set(self, index: int) -> None:
        self._memory[index] = 1

    def is_set(self, index: int) -> bool:
        return self._memory[index] == 1


class SharedStop(StopFlag):
    """One of ``SharedFlags`` as the engine wants it."""

    def __init__(self, flags: SharedFlags, index: int) -> None:
        self._flags, self._index = flags, index

    def set(self) -> None:
        self._flags.set(self._index)

    @property
    def is_set(self) -> bool:
        return self._flags.is_set(self._index)


class ZeroGpuEngine(ChatEngine):
    """The engine of the main process: sends each request to a worker with a GPU and passes its events on. Thread-safe."""

    def __init__(self, loaded: Engine, parts: EngineParts, decorate: Decorate) -> None:
        self.info = loaded.info
        self._parts = parts
        self._flags = SharedFlags()
        self._lock = threading.Lock()
        self._running: dict[int, str] = {}
        self._forgotten: deque[str] = deque(maxlen=_NUM_REMEMBERED)
        self._worker: tuple[int, Engine] | None = None
        self._answer_on_gpu = decorate(duration=self.duration_s)(self._answer_in_worker)

    def answer(self, request: ChatRequest, stop: StopFlag) -> Iterator[Event]:
        """Raises GpuUnavailable besides what every engine raises. What can be refused without a GPU borrows none."""
        if not request.question.strip():
            raise EmptyQuestion("Type a question first.")
        request, flag = self.told(request), self._flags.take()
        with self._lock:
            self._running[flag] = request.session_id
            forgotten = tuple(self._forgotten)
        events = self._answer_on_gpu(request, flag, forgotten)
        try:
            for event in events:
                if stop.is_set:
                    self._flags.set(flag)
                if isinstance(event, Failed):
                    raise event.as_error()
                yield event
        except gr.Error as error:  # from ZeroGPU itself, or foreseen by nobody
            raise GpuUnavailable(_as_sentence(str(error.message))) from None
        finally:
            stop.set()
            self._flags.set(flag)
            events.close()  # waits for the worker, which may look at the flag until then
            with self._lock:
                del self._running[flag]
            self._flags.give_back(flag)

    def forget(self, session_id: str) -> None:
        """Stop its answer. Workers are out of reach: each is told when it next answers, and forgets by itself in minutes."""
        with self._lock:
            self._forgotten.append(session_id)
            for flag, running_id in self._running.items():
                if running_id == session_id:
                    self._flags.set(flag)

    def estimate(self, plan: ImagePlan, num_text_tokens: int = 0) -> CostEstimate:
        """Without a time: which GPU will be lent, and how soon, is not known."""
        return self._parts.costs.estimate(plan, num_text_tokens)

    def count_text_tokens(self, text: str) -> int:
        return len(self._parts.processor.tokenizer(text)["input_ids"])

    def memory_report(self) -> dict[str, int]:
        with self._lock:
            num_running = len(self._running)
        return {"sessions": 0, "entries": 0, "bytes": 0, "model_bytes": self._parts.weight_bytes, "requests": num_running}

    def close(self) -> None:
        with self._lock:
            for flag in self._running:
                self._flags.set(flag)
        if self._worker is not None and self._worker[0] == os.getpid():
            self._worker[1].close()

    def duration_s(self, request: ChatRequest, flag: int = 0, forgotten: tuple[str, ...] = ()) -> int:
        """Seconds of GPU time to ask for: move the weights, see every image, read the prompt, write the longest answer.

        As if no worker had anything of the conversation. Called by ``spaces`` with the task's arguments.
        """
        model = self._parts.runner.model
        asked = [view for view in (request.view, *request.more_views) if view is not None]
        views = {*asked, *(view for turn in request.turns for view in turn.views)}
        plans = [
            self.info.layout.plan(request.images[view.image_id].size_px, view.max_patches)
            for view in views
            if view.image_id in request.images
        ]
        texts = [request.system, request.question, *(text for turn in request.turns for text in (turn.question, turn.answer))]
        num_tokens = sum(plan.num_visual_tokens for plan in plans) + self.count_text_tokens("\n".join(texts))
        vision = model.config.vision_config
        patches = sum(plan.num_views for plan in plans) * (vision.image_size // vision.patch_size) ** 2
        num_vision = num_language = 0
        for name, parameter in model.named_parameters():
            if any(tower in name for tower in _VISION_TOWERS):
                num_vision += parameter.numel()
            else:
                num_language += parameter.numel()
        flop = 2 * (num_vision * patches + num_language * num_tokens)
        token_s = self._parts.weight_bytes / _READ_BYTES_PER_S + _TOKEN_OVERHEAD_S
        seconds = _SETUP_S + self._parts.weight_bytes / _MOVED_BYTES_PER_S + flop / _FLOP_PER_S
        seconds += request.generation.max_new_tokens * token_s
        return min(max(math.ceil(seconds), _MIN_DURATION_S), _MAX_DURATION_S)

    # --- in a worker ----------------------------------------------------------------------------------------------

    def _answer_in_worker(self, request: ChatRequest, flag: int, forgotten: tuple[str, ...]) -> Iterator[Event | Failed]:
        try:
            engine = self._worker_engine()
            for session_id in forgotten:
                if session_id != request.session_id:
                    engine.forget(session_id)
            yield from engine.answer(request, SharedStop(self._flags, flag))
        except IxcError as error:
            yield Failed(type(error).__name__, str(error))
        except Exception as error:
            logger.exception("unexpected error in a ZeroGPU worker")
            raise gr.Error("Something went wrong on the GPU; ask again.", print_exception=False) from error

    def _worker_engine(self) -> Engine:
        """This process's own. Off ZeroGPU that is the main process."""
        if self._worker is None or self._worker[0] != os.getpid():
            parts = self._parts
            self._worker = (os.getpid(), Engine(parts.runner, parts.processor, self.info, parts.costs, parts.settings))
        return self._worker[1]


def _as_sentence(message: str) -> str:
    return message.strip().rstrip(".") + "."
