"""The model behind the page, loaded in the background so that the page is there at once; another can take its place."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ixc.application.messages import Message, message_for
from ixc.application.model_files import FetchFiles, OnProgress, fetch_model, is_on_hub
from ixc.chat.interface import ChatEngine
from ixc.errors import CheckpointError, IxcError
from ixc.image_layout import DYNAMIC_PARTITION, ImageLayout
from ixc.models.presets import find_model
from ixc.settings import GenerationSettings, Settings

logger = logging.getLogger(__name__)

LoadEngine = Callable[[Settings, OnProgress], ChatEngine]

_GONE_WITHIN_S = 5.0
"""How long the last user of a closed engine may hold on to it before its memory counts as not freed."""


@dataclass(frozen=True, slots=True)
class FreedMemory:
    """What the model before this one gave back: its weights and all sessions' caches."""

    name: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class ComingModel:
    """A model whose files are on their way while another one answers."""

    name: str
    key: str
    fraction: float | None = None

    def page_value(self) -> dict[str, object]:
        return {"name": self.name, "key": self.key, "percent": _percent(self.fraction)}


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where the model stands: ``phase`` is "loading", "ready", "failed", or "away": ready, but its server was lost."""

    phase: str
    name: str
    step: str = ""
    fraction: float | None = None
    device: str = ""
    """Empty too where another server runs the model."""
    note: str = ""
    error: Message | None = None
    """Why there is no model; or, when one is ready, why another could not take its place."""
    key: str = ""
    """What the setting calls it: a preset's name, a folder, a Hub repository."""
    served_as: str = ""
    """What the other server that runs it calls it, whatever the setting says."""
    layout: ImageLayout = DYNAMIC_PARTITION
    freed: FreedMemory | None = None
    coming: ComingModel | None = None
    """The model that will take this one's place when its files are here."""
    num_switches: int = 0
    """How often another model was chosen. A page that was opened after the last time has no need to hear what came of it."""

    @property
    def api_name(self) -> str:
        """What callers of the API name it by, and what its answers are labelled with."""
        return self.served_as or self.key or self.name

    def page_value(self) -> dict[str, object]:
        return {
            "phase": self.phase,
            "name": self.name,
            "step": self.step,
            "percent": _percent(self.fraction),
            "device": self.device,
            "note": self.note,
            "error": self.error.page_value() if self.error else None,
            "key": self.key,
            "layout": {"kind": str(self.layout.kind), "viewPx": self.layout.view_px},
            "freed": {"name": self.freed.name, "bytes": self.freed.num_bytes} if self.freed else None,
            "coming": self.coming.page_value() if self.coming else None,
            "switches": self.num_switches,
        }


def load_chat_engine(settings: Settings, on_progress: OnProgress) -> ChatEngine:
    """Load the configured model. Imported here: torch and transformers take seconds, and the page shall not wait for them."""
    if settings.backend:
        from ixc.chat.remote import connect_engine

        return connect_engine(settings, on_progress)
    from ixc.chat.loading import load_engine

    return load_engine(settings, on_progress)


class _GivenUp(Exception):
    """Another model was chosen while this one was being downloaded."""


@dataclass(eq=False, slots=True)
class _Job:
    """A model that shall be put in place."""

    model: str
    stays: ModelStatus | None
    """Of the model that is there: while files are on their way, and again if this one cannot be loaded."""
    is_loading: bool
    """From then on no other can be chosen."""


class EngineProvider:
    """Holds one engine at a time and loads it in a thread. Thread-safe.

    Answers borrow the engine, so that a switch waits for those under way and those after it wait for the new model. While the
    new one's files are downloaded, by ``fetch``, the old one goes on answering, and the choice can be taken back.
    """

    def __init__(self, settings: Settings, load: LoadEngine = load_chat_engine, fetch: FetchFiles | None = None) -> None:
        self._settings = settings
        self._load = load
        self._fetch = fetch_model if fetch is None and load is load_chat_engine else fetch
        self._done = threading.Event()
        self._changed = threading.Condition()
        self._num_borrowers = self._num_switches = 0
        self._engine: ChatEngine | None = None
        self._defaults: list[tuple[GenerationSettings, str]] = []
        self._status = _beginning(settings.model)
        self._job: _Job | None = None
        self._is_stopping: Callable[[], bool] = lambda: False

    def start(self) -> None:
        with self._changed:
            if self._job is None and not self._done.is_set():
                self._begin(self._settings.model)

    def give_downloads_up_when(self, is_stopping: Callable[[], bool]) -> None:
        """A process that is to end would wait for its downloads."""
        self._is_stopping = is_stopping

    @property
    def settings(self) -> Settings:
        """Those the app was started with."""
        return self._settings

    @property
    def status(self) -> ModelStatus:
        status, engine = self._status, self._engine
        if status.phase != "ready" or engine is None:
            return status
        if (failure := engine.failure) is not None:
            return replace(status, phase="failed", error=message_for(failure))
        return replace(status, phase="away") if engine.is_away else status

    @property
    def layout(self) -> ImageLayout:
        """How the chosen model cuts images, also while it loads."""
        return self._status.layout

    @property
    def engine(self) -> ChatEngine | None:
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
    def borrowed(self) -> Iterator[ChatEngine]:
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
        """Put ``model`` in the place of the one that is there, in the background.

        First its files are downloaded, if need be. Until they are here the old one answers, and to choose another, or the old
        one again, gives the download up; it can go on later. Then the answers under way are finished. If ``model`` cannot be
        had, the one before stays, or is loaded again, and the status says why. To choose the one that is there says that this
        is known. Raises CheckpointError for a model that cannot be found, IxcError while another is being loaded.
        """
        find_model(model)
        with self._changed:
            job = self._job
            if job is not None and job.is_loading:
                raise IxcError("A model is being loaded; wait until it is there, then choose another.")
            if self._engine is not None and model == self._status.key:
                self._job = None
                self._status = replace(self._status, coming=None, error=None, freed=None)
            elif job is None or job.model != model:
                self._num_switches += 1
                self._begin(model)

    def _begin(self, model: str) -> None:
        """Under the lock."""
        is_here = self._fetch is None or not is_on_hub(self._settings, model)
        stays = None
        if self._engine is not None:
            stays = replace(self._status, coming=None, error=None, freed=None, num_switches=self._num_switches)
        self._job = _Job(model, stays, is_loading=is_here)
        if stays is None or is_here:
            self._done.clear()  # from here on nobody borrows
            self._status = self._beginning(model)
        else:
            self._status = replace(stays, coming=ComingModel(_beginning(model).name, model))
        threading.Thread(target=self._run, args=(self._job,), name="load-model", daemon=True).start()

    def _beginning(self, model: str) -> ModelStatus:
        return replace(_beginning(model), num_switches=self._num_switches)

    # --- in the loading thread ------------------------------------------------------------------------------------

    def _run(self, job: _Job) -> None:
        error = self._fetch_files(job)
        if not self._may_load(job, error):
            return
        freed = self._free_engine() if job.stays else None
        error = self._try_to_load(job.model, freed)
        if error is not None and job.stays:
            self._try_to_load(job.stays.key, None)
            if self._engine is not None:
                self._status = replace(self._status, error=error)
        with self._changed:
            self._job = None
            self._done.set()
            self._changed.notify_all()

    def _fetch_files(self, job: _Job) -> Message | None:
        """Bring what the model needs, which may take hours. Returns what went wrong."""
        if self._fetch is None:
            return None

        def on_progress(step: str, fraction: float | None) -> None:
            with self._changed:
                if self._job is not job or self._is_stopping():
                    raise _GivenUp
                status = self._status
                coming = status.coming and replace(status.coming, fraction=fraction)
                self._status = replace(status, coming=coming) if coming else replace(status, step=step, fraction=fraction)

        try:
            self._fetch(replace(self._settings, model=job.model), self._held_bytes(), on_progress)
        except _GivenUp:
            logger.info("the download of %s was given up", job.model)
            with self._changed:
                self._job = None if self._job is job else self._job  # the app is stopping
        except Exception as error:  # noqa: BLE001  shown in the page
            return _failure(job.model, error) if self._job is job else None
        return None

    def _held_bytes(self) -> int:
        engine = self._engine
        return 0 if engine is None else _held_by(engine)

    def _may_load(self, job: _Job, error: Message | None) -> bool:
        """Its files are here, or ``error`` says why not. From here on it is its turn, unless another was chosen meanwhile."""
        with self._changed:
            if self._job is not job:
                return False
            if error is None:
                job.is_loading = True
                self._done.clear()
                self._status = self._beginning(job.model)
                return True
            self._job = None
            self._status = replace(job.stays or replace(self._beginning(job.model), phase="failed"), error=error)
            self._done.set()
            self._changed.notify_all()
            return False

    def _try_to_load(self, model: str, freed: FreedMemory | None) -> Message | None:
        """Load ``model`` and set the status. Returns what went wrong."""
        beginning = replace(self._beginning(model), freed=freed)
        self._status = beginning

        def on_progress(step: str, fraction: float | None) -> None:
            self._status = replace(beginning, step=step, fraction=fraction)

        message: Message | None = None
        try:
            engine = self._load(replace(self._settings, model=model), on_progress)
        except Exception as error:  # noqa: BLE001  shown in the page, which goes on working without a model
            message = _failure(model, error)
        if message is not None:
            self._give_back_what_was_loaded()
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
            served_as=engine.served_as,
        )
        logger.info("model %s is ready on %s", engine.model_name, engine.device_name or "another server")
        return None

    def _give_back_what_was_loaded(self) -> None:
        """What a failed load had loaded hangs in a circle of its error and that one's frames, until it is collected."""
        if not self._settings.backend:  # else there is nothing, and no torch
            from ixc.chat.memory import give_memory_back

            give_memory_back()

    def _free_engine(self) -> FreedMemory:
        """Let go of the engine once nobody uses it. Counts what it held, but only if it is really gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._num_borrowers == 0)
            engine, self._engine = self._engine, None
        name, held_bytes = engine.model_name, _held_by(engine)
        engine.close()
        trace = weakref.ref(engine)
        del engine
        is_gone = _wait_until_gone(trace)
        num_bytes = held_bytes if is_gone else 0
        if is_gone:
            logger.info("freed %.0f MB that %s held", num_bytes / 1e6, name)
        else:
            logger.warning("something still holds %s; its memory is not free", name)
        return FreedMemory(name, num_bytes)


def _held_by(engine: ChatEngine) -> int:
    """Bytes of its weights and of all sessions' caches."""
    report = engine.memory_report()
    return report.get("bytes", 0) + report.get("model_bytes", 0)


def _percent(fraction: float | None) -> int | None:
    return None if fraction is None else round(100 * fraction)


def _failure(model: str, error: Exception) -> Message:
    """What the page shows; whoever runs the app finds the reason in the log too."""
    message = message_for(error)
    if isinstance(error, IxcError):  # message_for has told the others
        logger.error("model %s could not be loaded: %s", model, str(error))  # a kept record would keep what was loaded
    return message


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
