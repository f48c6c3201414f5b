"""A page looks how the model is: defaults come with a model that is new to the page, and then its settings are the user's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import gradio as gr
import pytest
from huggingface_hub import constants

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.settings import GenerationSettings, Settings
from ixc.ui.model_panel import ModelHandlers
from ixc.ui.settings_panel import layout_settings_panel, relabelled

PAGE = SimpleNamespace(session_hash="anna")
UNTOUCHED = [1024, 1.0, 0.8, 1.005, 1, "", ""]
EMPTIED = [300, 0.0, 0.8, 1.005, 1, "", ""]
"""The model's own, but for its system prompt, which the user took away."""


class Polite:
    """What the provider asks of an engine whose checkpoint brings a system prompt and a length."""

    model_name, device_name, limits_note, served_as = "polite", "a test", "", ""
    info = SimpleNamespace(sees_one_image=False)
    default_generation, default_system = GenerationSettings(max_new_tokens=300, do_sample=False), "Be kind."
    layout, is_away, failure, default_max_patches = EngineProvider(Settings()).layout, False, None, 9


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


def test_what_a_model_downloads_is_said_in_the_pages_language(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    provider = EngineProvider(Settings(models="4khd-7b,inf-llava-8b"), lambda *_: Polite())
    provider.start()
    assert provider.wait(10)
    handlers = ModelHandlers(Services(provider.settings, provider, SessionStore(), WaitingLine(1)), len(UNTOUCHED))
    in_chinese = ["ixc-nano", "InternLM-XComposer2-4KHD 7B（需下载 17.2 GB）", "INF-LLaVA 8B（需下载）"]
    in_english = ["ixc-nano", "InternLM-XComposer2-4KHD 7B (17.2 GB to download)", "INF-LLaVA 8B (to download)"]
    for known, titles in (({"language": "zh"}, in_chinese), ({"language": "en"}, in_english), (None, in_english)):
        for shown in (
            handlers.load(PAGE, known, 9, None, *UNTOUCHED)[1:],
            handlers.look(PAGE, known, 9, None, *UNTOUCHED),
            handlers.switch(PAGE, "nosuch", known, 9, None, *UNTOUCHED),
        ):
            choice = shown[-len(UNTOUCHED) - 1]
            assert [title for title, _ in choice["choices"]] == titles
    with gr.Blocks():
        panel = layout_settings_panel(provider.settings)
    chosen, *_ = relabelled(panel, provider, "zh")
    assert ([title for title, _ in chosen["choices"]], chosen["label"]) == (in_chinese, "模型")


@pytest.mark.parametrize(("settings", "num"), [({}, 6), ({"models": "4khd-7b"}, 2), ({"host": "0.0.0.0"}, 1)])
def test_a_page_knows_among_how_many_models_its_user_can_choose(settings, num):
    provider = EngineProvider(Settings(**settings), lambda *_: Polite())
    handlers = ModelHandlers(Services(provider.settings, provider, SessionStore(), WaitingLine(1)), len(UNTOUCHED))
    assert handlers.load(PAGE, None, 9, None, *UNTOUCHED)[1]["choices"] == num


def test_another_server_is_called_so_in_the_pages_language_until_its_model_is_known():
    provider = EngineProvider(Settings(backend="http://127.0.0.1:9"), lambda *_: Polite())
    with gr.Blocks():
        panel = layout_settings_panel(provider.settings)
    assert [title for title, _ in panel.model.choices] == ["Another server"]
    chosen, *_ = relabelled(panel, provider, "zh")
    assert [title for title, _ in chosen["choices"]] == ["另一台服务器"]
