"""Gradio forgets what it holds for a page after a while; the page still shows the conversation, and it goes on."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.errors import CheckpointError
from ixc.settings import GenerationSettings, Settings
from ixc.ui.chat_panel import ChatHandlers
from ixc.ui.transcript import Conversation, Exchange, transcript_page_value

PAGE = SimpleNamespace(session_hash="anna", username=None, client=None)
TOLD = Conversation((Exchange("Which?", answer="West.", model="m"), Exchange("And?", answer="East.", model="m")))
DEFAULTS = GenerationSettings()
CONTROLS = (DEFAULTS.max_new_tokens, 1.0, DEFAULTS.top_p, DEFAULTS.repetition_penalty, 1, "", "")
NO_STAGE, STAGE = {"image": None}, {"image": {"id": "0123456789abcdef"}}


@pytest.fixture(scope="module")
def handlers() -> ChatHandlers:
    """Of an app whose model could not be loaded: every question is answered at once, with an error."""

    def load(*_: object) -> None:
        raise CheckpointError("The folder is empty; download the model again.")

    settings = Settings()
    provider = EngineProvider(settings, load)
    provider.start()
    assert provider.wait(30)
    return ChatHandlers(Services(settings, provider, SessionStore(), WaitingLine(1)))


def event(**data: object) -> SimpleNamespace:
    return SimpleNamespace(_data=data)


def inputs(shown: Conversation, stage: dict = NO_STAGE) -> list:
    """What the page sends along after Gradio has dropped the conversation."""
    return [None, json.loads(json.dumps(transcript_page_value(shown))), stage, 25, *CONTROLS]


def questions(transcript: dict) -> list[str]:
    return [exchange["question"] for exchange in transcript["exchanges"]]


def test_a_question_goes_on_with_what_the_page_shows(handlers):
    *_, (transcript, conversation) = handlers.ask(PAGE, "Why?", *inputs(TOLD))
    assert questions(transcript) == ["Which?", "And?", "Why?"]
    assert [turn.answer for turn in conversation.turns(())] == ["West.", "East."]  # the model is told
    assert transcript["error"] is None  # nothing was lost


def test_a_question_about_a_freed_image_leaves_the_conversation_where_it_was(handlers):
    ((transcript, _),) = handlers.ask(PAGE, "Why?", *inputs(TOLD, STAGE))
    assert questions(transcript) == ["Which?", "And?"]
    assert transcript["error"]["code"] == "ImageGone"


def test_what_gradio_still_holds_counts(handlers):
    *_, (transcript, _) = handlers.ask(PAGE, "Why?", Conversation(), *inputs(TOLD)[1:])
    assert questions(transcript) == ["Why?"]


@pytest.mark.parametrize("shown", [None, "", [], {}, {"exchanges": None}, {"exchanges": [5, {"question": "Which?"}]}])
def test_a_page_may_send_anything(handlers, shown):
    *_, (transcript, _) = handlers.ask(PAGE, "Why?", None, shown, NO_STAGE, 25, *CONTROLS)
    assert questions(transcript) == ["Why?"]


def test_the_last_question_is_asked_again(handlers):
    (first, _), *_, (last, _) = handlers.retry(PAGE, *inputs(TOLD))
    assert (questions(first), first["live"]["question"]) == (["Which?"], "And?")
    assert questions(last) == ["Which?", "And?"]


def test_an_earlier_question_is_changed(handlers):
    *_, (transcript, _) = handlers.edit(PAGE, event(index=0, text="What?"), *inputs(TOLD))
    assert questions(transcript) == ["What?"]


@pytest.mark.parametrize("index", [-1, 2, 10**9, "0", None])
def test_the_page_hears_of_a_question_that_is_not_there_too(handlers, index):
    ((transcript, _),) = handlers.edit(PAGE, event(index=index, text="What?"), *inputs(TOLD))
    assert questions(transcript) == ["Which?", "And?"]
    ((transcript, _),) = handlers.retry(PAGE, *inputs(Conversation()))
    assert questions(transcript) == []


def test_the_last_question_is_taken_back(handlers):
    transcript, conversation = handlers.undo(*inputs(TOLD)[:2], PAGE)
    assert (questions(transcript), transcript["draft"]) == (["Which?"], "And?")
    assert len(conversation.exchanges) == 1


@pytest.mark.parametrize("kind", ["json", "markdown"])
def test_the_file_holds_what_is_shown(handlers, kind):
    file = handlers.export(event(format=kind, language="en"), *inputs(TOLD)[:2], *CONTROLS)
    assert "West." in file["text"]
    assert "East." in file["text"]


def test_a_seed_that_is_none_does_not_hold_the_file_up(handlers):
    wrong = (*CONTROLS[:-2], "lucky", "")
    file = handlers.export(event(format="json", language="en"), *inputs(TOLD)[:2], *wrong)
    assert json.loads(file["text"])["settings_now"] is None
    assert [each["answer"] for each in json.loads(file["text"])["exchanges"]] == ["West.", "East."]
