"""The model behind the page, loaded in the background so that the page is there at once; another can take its place."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ixc.application.messages import Message, message_for
from ixc.errors import CheckpointError, IxcError
from ixc.image_layout import DYNAMIC_PARTITION, ImageLayout
from ixc.models.presets import find_model
from ixc.settings import GenerationSettings, Settings

if TYPE_CHECKING:
    from ixc.chat.engine import Engine

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, float | None], None]
LoadEngine = Callable[[Settings, OnProgress], "Engine"]

_GONE_WITHIN_S = 5.0
"""How long the last user of a closed engine may hold on to it before its memory counts as not freed."""


@dataclass(frozen=True, slots=True)
class FreedMemory:
    """What the model before this one gave back: its weights and all sessions' caches."""

    name: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where the model stands: ``phase`` is "loading", "ready", "failed", or "away": ready, but its server was lost."""

    phase: str
    name: str
    step: str = ""
    fraction: float | None = None
    device: str = ""
    note: str = ""
    error: Message | None = None
    """Why there is no model; or, when one is ready, why another could not take its place."""
    key: str = ""
    """What the setting calls it: a preset's name, a folder, a Hub repository."""
    layout: ImageLayout = DYNAMIC_PARTITION
    freed: FreedMemory | None = None

    def page_value(self) -> dict[str, object]:
        return {
            "phase": self.phase,
            "name": self.name,
            "step": self.step,
            "percent": None if self.fraction is None else round(100 * self.fraction),
            "device": self.device,
            "note": self.note,
            "error": self.error.page_value() if self.error else None,
            "key": self.key,
            "layout": {"kind": str(self.layout.kind), "viewPx": self.layout.view_px},
            "freed": {"name": self.freed.name, "bytes": self.freed.num_bytes} if self.freed else None,
        }


def load_chat_engine(settings: Settings, on_progress: OnProgress) -> Engine:
    """Load the configured model. Imported here: torch and transformers take seconds, and the page shall not wait for them."""
    if settings.backend:
        from ixc.chat.remote import connect_engine

        return connect_engine(settings, on_progress)
    from ixc.chat.loading import load_engine

    return load_engine(settings, on_progress)


class EngineProvider:
    """Loads one engine at a time, in a thread of its own. Thread-safe.

    Answers borrow the engine, so that a switch waits for those under way and those after it wait for the new model.
    """

    def __init__(self, settings: Settings, load: LoadEngine = load_chat_engine) -> None:
        self._settings = settings
        self._load = load
        self._done = threading.Event()
        self._changed = threading.Condition()
        self._num_borrowers = 0
        self._engine: Engine | None = None
        self._defaults: list[tuple[GenerationSettings, str]] = []
        self._status = _beginning(settings.model)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._settings.model,), name="load-model", daemon=True)
                self._thread.start()

    @property
    def status(self) -> ModelStatus:
        status, engine = self._status, self._engine
        return replace(status, phase="away") if status.phase == "ready" and engine is not None and engine.is_away else status

    @property
    def layout(self) -> ImageLayout:
        """How the chosen model cuts images, also while it loads."""
        return self._status.layout

    @property
    def engine(self) -> Engine | None:
        """None while it loads and after a failure."""
        return self._engine

    @property
    def defaults(self) -> tuple[tuple[GenerationSettings, str], ...]:
        """Generation settings and system prompt of every model there has been, the newest last."""
        return tuple(self._defaults)

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once loading has ended, well or badly."""
        return self._done.wait(timeout_s)

    @contextmanager
    def borrowed(self) -> Iterator[Engine]:
        """The engine, not to be replaced meanwhile. Raises CheckpointError when there is none."""
        with self._changed:
            self._changed.wait_for(self._done.is_set)
            engine, error = self._engine, self._status.error
            if engine is None:
                raise CheckpointError(
                    error.detail if error and error.detail else "No model could be loaded; look at the app's log."
                )
            self._num_borrowers += 1
        try:
            yield engine
        finally:
            del engine
            with self._changed:
                self._num_borrowers -= 1
                self._changed.notify_all()

    def switch(self, model: str) -> None:
        """Put ``model`` in the place of the one that is there, in the background; nothing if it is that one already.

        Answers under way are finished first. If it cannot be loaded, the one before is loaded again and the status says why.
        Raises CheckpointError for a model that cannot be found, IxcError while another is being loaded.
        """
        find_model(model)
        with self._changed:
            if self._done.is_set() and self._engine is not None and model == self._status.key:
                return
            if not self._done.is_set():
                raise IxcError("A model is being loaded; wait until it is there, then choose another.")
            before = self._status.key
            self._done.clear()  # from here on nobody borrows
            self._status = _beginning(model)
            self._thread = threading.Thread(target=self._run, args=(model, before), name="switch-model", daemon=True)
            self._thread.start()

    # --- in the loading thread ------------------------------------------------------------------------------------

    def _run(self, model: str, before: str | None = None) -> None:
        had_one = self._engine is not None
        freed = self._free_engine() if had_one else None
        error = self._try_to_load(model, freed)
        if error is not None and had_one:
            self._try_to_load(before, None)
            if self._engine is not None:
                self._status = replace(self._status, error=error)
        with self._changed:
            self._done.set()
            self._changed.notify_all()

    def _try_to_load(self, model: str, freed: FreedMemory | None) -> Message | None:
        """Load ``model`` and set the status. Returns what went wrong."""
        beginning = replace(_beginning(model), freed=freed)
        self._status = beginning

        def on_progress(step: str, fraction: float | None) -> None:
            self._status = replace(beginning, step=step, fraction=fraction)

        try:
            engine = self._load(replace(self._settings, model=model), on_progress)
        except Exception as error:  # noqa: BLE001  shown in the page, which goes on working without a model
            message = message_for(error)
            self._status = replace(beginning, phase="failed", error=message)
            return message
        self._engine = engine
        self._defaults.append((engine.default_generation, engine.default_system))
        self._status = replace(
            beginning,
            phase="ready",
            name=engine.model_name,
            device=engine.device_name,
            note=engine.limits_note,
            layout=engine.layout,
        )
        logger.info("model %s is ready on %s", engine.model_name, engine.device_name)
        return None

    def _free_engine(self) -> FreedMemory:
        """Let go of the engine once nobody uses it. Counts what it held, but only if it is really gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._num_borrowers == 0)
            engine, self._engine = self._engine, None
        name, report = engine.model_name, engine.memory_report()
        engine.close()
        trace = weakref.ref(engine)
        del engine
        is_gone = _wait_until_gone(trace)
        num_bytes = report.get("bytes", 0) + report.get("model_bytes", 0) if is_gone else 0
        if is_gone:
            logger.info("freed %.0f MB that %s held", num_bytes / 1e6, name)
        else:
            logger.warning("something still holds %s; its memory is not free", name)
        return FreedMemory(name, num_bytes)


def _beginning(model: str) -> ModelStatus:
    """The status of a model that is about to be loaded."""
    try:
        preset = find_model(model)
    except CheckpointError:  # loading it will say why
        # of a folder, what the page has room for
        return ModelStatus("loading", model.rstrip("/").rpartition("/")[2], key=model)
    return ModelStatus("loading", preset.title, key=model, layout=preset.layout)


def _wait_until_gone(trace: weakref.ref) -> bool:
    """Collect garbage until nothing holds what ``trace`` points to, then hand the memory back. False if something does."""
    from ixc.chat.memory import give_memory_back

    deadline_s = time.monotonic() + _GONE_WITHIN_S
    while True:
        give_memory_back()
        if trace() is None:
            return True
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
