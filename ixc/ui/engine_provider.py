"""The model behind the page, loaded in the background so that the page is there at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ixc.settings import Settings
from ixc.ui.messages import Message, message_for

if TYPE_CHECKING:
    from ixc.chat.engine import Engine

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, float | None], None]
LoadEngine = Callable[[Settings, OnProgress], "Engine"]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where the model stands: ``phase`` is "loading", "ready" or "failed"."""

    phase: str
    name: str
    step: str = ""
    fraction: float | None = None
    device: str = ""
    note: str = ""
    error: Message | None = None

    def page_value(self) -> dict[str, object]:
        return {
            "phase": self.phase,
            "name": self.name,
            "step": self.step,
            "percent": None if self.fraction is None else round(100 * self.fraction),
            "device": self.device,
            "note": self.note,
            "error": self.error.page_value() if self.error else None,
        }


def load_chat_engine(settings: Settings, on_progress: OnProgress) -> Engine:
    """Load the configured model. Imported here: torch and transformers take seconds, and the page shall not wait for them."""
    from ixc.chat.loading import load_engine

    return load_engine(settings, on_progress)


class EngineProvider:
    """Loads one engine once, in a thread of its own. Thread-safe."""

    def __init__(self, settings: Settings, load: LoadEngine = load_chat_engine) -> None:
        self._settings = settings
        self._load = load
        self._done = threading.Event()
        self._name = settings.model.rstrip("/").rpartition("/")[2]  # of a folder, what the page has room for
        self._status = ModelStatus("loading", self._name)
        self._engine: Engine | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="load-model", daemon=True)
            self._thread.start()

    @property
    def status(self) -> ModelStatus:
        return self._status

    @property
    def engine(self) -> Engine | None:
        """None while it loads and after a failure."""
        return self._engine

    def wait(self, timeout_s: float | None = None) -> bool:
        """True once loading has ended, well or badly."""
        return self._done.wait(timeout_s)

    def _run(self) -> None:
        try:
            engine = self._load(self._settings, self._on_progress)
        except Exception as error:  # noqa: BLE001  shown in the page, which goes on working without a model
            self._status = ModelStatus("failed", self._name, error=message_for(error))
        else:
            self._engine = engine
            self._status = ModelStatus("ready", engine.model_name, device=engine.device_name, note=engine.limits_note)
            logger.info("model %s is ready on %s", engine.model_name, engine.device_name)
        finally:
            self._done.set()

    def _on_progress(self, step: str, fraction: float | None) -> None:
        self._status = ModelStatus("loading", self._name, step, fraction)
