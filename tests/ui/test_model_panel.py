"""A page looks how the model is: defaults come with a model that is new to the page, and then its settings are the user's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.settings import GenerationSettings, Settings
from ixc.ui.model_panel import ModelHandlers

PAGE = SimpleNamespace(session_hash="anna")
UNTOUCHED = [1024, 1.0, 0.8, 1.005, 1, "", ""]
EMPTIED = [300, 0.0, 0.8, 1.005, 1, "", ""]
"""The model's own, but for its system prompt, which the user took away."""


class Polite:
    """What the provider asks of an engine whose checkpoint brings a system prompt and a length."""

    model_name, device_name, limits_note = "polite", "a test", ""
    info = SimpleNamespace(sees_one_image=False)
    default_generation, default_system = GenerationSettings(max_new_tokens=300, do_sample=False), "Be kind."
    layout, is_away, default_max_patches = EngineProvider(Settings()).layout, False, 9


@pytest.fixture
def handlers() -> ModelHandlers:
    provider = EngineProvider(Settings(), lambda *_: Polite())
    provider.start()
    assert provider.wait(10)
    return ModelHandlers(Services(Settings(), provider, SessionStore(), WaitingLine(1)), len(UNTOUCHED))


def told(shown: list) -> list:
    """Settings that the page is given; None where it is told to leave them."""
    settings = shown[-len(UNTOUCHED) :]
    return [None if isinstance(value, dict) else value for value in settings]


def test_a_page_that_is_opened_gets_the_models_own(handlers):
    known = {"phase": "ready", "key": "ixc-nano"}  # as a page that was built late says
    shown = handlers.load(PAGE, known, 9, None, *UNTOUCHED)
    assert told(shown)[0] == 300
    assert told(shown)[-1] == "Be kind."


def test_one_that_waited_for_the_model_gets_them_when_it_is_there(handlers):
    assert told(handlers.look(PAGE, {"phase": "loading", "key": "ixc-nano"}, 9, None, *UNTOUCHED))[-1] == "Be kind."
    assert told(handlers.look(PAGE, {"phase": "ready", "key": "another"}, 9, None, *UNTOUCHED))[-1] == "Be kind."


def test_who_comes_back_to_a_model_keeps_an_emptied_system_prompt(handlers):
    known = json.loads(json.dumps(handlers.look(PAGE, None, 9, None, *UNTOUCHED)[0]))
    assert told(handlers.look(PAGE, known, 9, None, *EMPTIED)) == [None] * len(EMPTIED)
    assert handlers.look(PAGE, known, 9, None, *EMPTIED)[0]["phase"] == "ready"
