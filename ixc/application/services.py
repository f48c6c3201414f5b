"""What all users of the app share. No user's state is in here: that lives in the session store and in Gradio's state."""

from __future__ import annotations

from dataclasses import dataclass, field

from ixc.application.engine_provider import EngineProvider
from ixc.application.session import SessionStore, StoreLimits
from ixc.application.traffic import Traffic
from ixc.application.waiting import WaitingLine
from ixc.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """Settings, the model, the sessions' store, the line before the model, and the answers under way."""

    settings: Settings
    provider: EngineProvider
    store: SessionStore
    line: WaitingLine
    traffic: Traffic = field(default_factory=Traffic)

    @classmethod
    def start(cls, settings: Settings, provider: EngineProvider | None = None) -> Services:
        """The services of one running app; the model starts to load."""
        provider, traffic = provider or EngineProvider(settings), Traffic()
        provider.give_downloads_up_when(lambda: traffic.is_stopping)
        provider.start()
        store = SessionStore(StoreLimits(max_bytes=settings.held_image_bytes))
        return cls(settings, provider, store, _line(settings), traffic)

    @property
    def default_max_patches(self) -> int:
        """The budget of a question that names none: the model's own; the settings' while there is no model."""
        engine = self.provider.engine
        return self.settings.default_max_patches if engine is None else engine.default_max_patches


def _line(settings: Settings) -> WaitingLine:
    """A model here answers one question at a time; a backend orders its work itself."""
    return WaitingLine(settings.max_waiting, settings.backend_parallel if settings.backend else 1)
