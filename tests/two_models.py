"""An app with two models that can take each other's place: both only say who they are and what they were asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.chat.events import AnswerStats, Event, Finished, FinishReason, PrefillProgress, TextDelta
from ixc.chat.interface import ChatEngine, CostEstimate, ModelInfo
from ixc.chat.request import ChatRequest, StopFlag
from ixc.models.presets import NANO, XC2_VL_7B, ModelPreset
from ixc.settings import GenerationSettings, Settings
from ixc.single_view import ImagePlan

TILED, SINGLE = NANO, XC2_VL_7B
"""The first cuts tiles, the second looks once."""
SYSTEMS = {TILED.name: "You cut tiles.", SINGLE.name: "You look once."}
BUDGETS = {TILED.name: 9, SINGLE.name: 1}
LOOKUP_TOKENS = 7
"""What IXC_PROMPT_LOOKUP is set to."""


class NamedEngine(ChatEngine):
    """Keeps what it is asked, waits for ``may_speak``, and says its name letter by letter."""

    def __init__(self, preset: ModelPreset = TILED, *, sees_one_image: bool = False) -> None:
        self.info = ModelInfo(
            name=preset.title,
            device="a test",
            note="",
            default_generation=GenerationSettings(max_new_tokens=100 + len(preset.name), prompt_lookup_tokens=LOOKUP_TOKENS),
            default_system=SYSTEMS[preset.name],
            default_max_patches=BUDGETS[preset.name],
            layout=preset.layout,
            sees_one_image=sees_one_image,
        )
        self.requests: list[ChatRequest] = []
        self.is_asked, self.may_speak, self.was_left = threading.Event(), threading.Event(), threading.Event()
        self.may_speak.set()
        self.tells_progress = False
        """Whether it says that it reads the question; else its name is the first that is heard of it."""

    def answer(self, request: ChatRequest, stop: StopFlag) -> Iterator[Event]:
        self.requests.append(request)
        self.is_asked.set()
        if self.tells_progress:
            yield PrefillProgress("prefill", 0, 1)
        while not stop.is_set and not self.may_speak.wait(0.01):
            pass
        if stop.is_set:
            self.was_left.set()
            yield Finished(FinishReason.STOPPED, AnswerStats(None, 1, 0, 0, None, 0))
            return
        for letter in self.info.name:
            yield TextDelta(letter)
        yield Finished(FinishReason.END_OF_TURN, AnswerStats(1.0, 1, 0, 1, None, 0))

    def forget(self, session_id: str) -> None:
        pass

    def estimate(self, plan: ImagePlan, num_text_tokens: int = 0) -> CostEstimate | None:
        return None

    def count_text_tokens(self, text: str) -> int:
        return len(text)

    def memory_report(self) -> dict[str, int]:
        return {"sessions": 0, "entries": 0, "bytes": 0, "model_bytes": 0, "requests": 0}

    def close(self) -> None:
        pass


def two_models(max_waiting: int = 20) -> Services:
    """The services of an app that has loaded ``TILED``."""
    presets = {preset.name: preset for preset in (TILED, SINGLE)}
    settings = Settings(model=TILED.name, max_waiting=max_waiting, prompt_lookup_tokens=LOOKUP_TOKENS)
    provider = EngineProvider(settings, lambda asked, _: NamedEngine(presets[asked.model]))
    provider.start()
    assert provider.wait(30)
    return Services(settings, provider, SessionStore(), WaitingLine(max_waiting))


def switch(services: Services, preset: ModelPreset) -> None:
    """Choose another model and wait until it is there."""
    services.provider.switch(preset.name)
    assert services.provider.wait(30)
    assert services.provider.status.key == preset.name
