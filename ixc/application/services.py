"""What all users of the app share. No user's state is in here: that lives in the session store and in Gradio's state."""

from __future__ import annotations

from dataclasses import dataclass, field

from ixc.application.engine_provider import EngineProvider
from ixc.application.read_ahead import ReadAhead
from ixc.application.session import SessionStore, StoreLimits
from ixc.application.traffic import Traffic
from ixc.application.waiting import WaitingLine
from ixc.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """Settings, the model, the sessions' store, the line before the model, the answers under way, and what is read ahead."""

    settings: Settings
    provider: EngineProvider
    store: SessionStore
    line: WaitingLine
    traffic: Traffic = field(default_factory=Traffic)
    read_ahead: ReadAhead | None = None
    """None: the model reads nothing before it is asked."""

    @classmethod
    def start(cls, settings: Settings, provider: EngineProvider | None = None) -> Services:
        """The services of one running app; the model starts to load."""
        provider, traffic = provider or EngineProvider(settings), Traffic()
        provider.give_downloads_up_when(lambda: traffic.is_stopping)
        provider.start()
        store = SessionStore(StoreLimits(max_bytes=settings.held_image_bytes))
        line = _line(settings)
        read_ahead = ReadAhead(provider, store, line, traffic) if settings.read_ahead == "on" else None
        return cls(settings, provider, store, line, traffic, read_ahead)

    @property
    def default_max_patches(self) -> int:
        """The budget of a question that names none: the model's own; the settings' while there is no model."""
        engine = self.provider.engine
        return self.settings.default_max_patches if engine is None else engine.default_max_patches


def _line(settings: Settings) -> WaitingLine:
    """A model here answers one question at a time; a backend orders its work itself."""
    return WaitingLine(settings.max_waiting, settings.backend_parallel if settings.backend else 1)
