"""Every answer carries the settings it was made with, and says when it was made without an image of before."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore, StoreLimits
from ixc.application.waiting import WaitingLine
from ixc.chat.events import AnswerStats, Event, Finished, FinishReason, TextDelta
from ixc.chat.request import ChatRequest
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings, Settings
from ixc.ui.chat_panel import ChatHandlers
from ixc.ui.transcript import Conversation

PAGE = SimpleNamespace(session_hash="anna", username=None, client=None)
STAGE, NO_STAGE = {"image": {"id": "x"}}, {"image": None}


class Parrot:
    """What the provider and the chat ask of an engine; it answers with the number of images it was told of."""

    model_name, device_name, limits_note, is_away, default_max_patches = "parrot", "a test", "", False, 9
    default_generation, default_system = GenerationSettings(), ""
    layout = EngineProvider(Settings()).layout

    def answer(self, request: ChatRequest, _: Any) -> Iterator[Event]:
        views = [view for view in (request.view, *(turn.view for turn in request.turns)) if view]
        yield TextDelta(str(len(views)))
        yield Finished(FinishReason.END_OF_TURN, AnswerStats(1.0, 1, 0, 1, 1.0, 0))


@pytest.fixture
def services() -> Services:
    provider = EngineProvider(Settings(), lambda *_: Parrot())
    provider.start()
    assert provider.wait(10)
    return Services(Settings(), provider, SessionStore(StoreLimits(max_images_per_session=1)), WaitingLine(1))


def controls(length: int, seed: str = "", system: str = "") -> list:
    return [length, 1.0, 0.8, 1.005, 1, seed, system]


def open_image(services: Services, value: int) -> None:
    services.store.put_image("anna", DecodedImage.from_pixels(np.full((20, 30, 3), value, np.uint8)))


def ask(services: Services, past: Conversation | None, stage: dict, budget: int, settings: list) -> Conversation:
    *_, (_, conversation) = ChatHandlers(services).ask(PAGE, "What?", past, None, stage, budget, *settings)
    return conversation


def test_each_answer_keeps_the_settings_of_its_own_question(services):
    open_image(services, 1)
    one = ask(services, None, STAGE, 16, controls(77, "9", "Be brief."))
    services.store.clear_current("anna")
    two = ask(services, one, NO_STAGE, 25, controls(5))
    first, second = two.exchanges
    assert (first.used.generation, first.used.system, first.used.budget) == (
        GenerationSettings(max_new_tokens=77, seed=9),
        "Be brief.",
        16,
    )
    assert (second.used.generation.max_new_tokens, second.used.system, second.used.budget) == (5, "", None)
    assert (first.model, second.model) == ("parrot", "parrot")


def test_an_answer_that_was_made_without_an_earlier_image_says_so(services):
    open_image(services, 1)
    one = ask(services, None, STAGE, 16, controls(5))
    two = ask(services, one, STAGE, 16, controls(5))
    open_image(services, 2)  # one is held at most
    three = ask(services, two, STAGE, 16, controls(5))
    assert [exchange.answer for exchange in three.exchanges] == ["1", "2", "1"]
    assert [exchange.lacks_image for exchange in three.exchanges] == [False, False, True]
    assert three.exchanges[-1].page_value()["lacksImage"] is True
