"""Conversations as clients write them: with a greeting before the first question, and answers without words."""

from __future__ import annotations

import pytest

from ixc.conversation import XCOMPOSER2_CHAT, Turn
from ixc.errors import SettingsError
from ixc.serving.answers import session_of
from ixc.serving.image_urls import ImageSource
from ixc.serving.openai_request import ChatCompletion, RequestParser
from ixc.settings import ImageLimits

GREETING = {"role": "assistant", "content": "How can I help?"}


def parsed(*messages: dict) -> ChatCompletion:
    parser = RequestParser(ImageLimits(), ImageSource(1000), 64)
    return parser.parse({"model": "m", "messages": list(messages)}, 4)[0]


def said(role: str, content: object) -> dict:
    return {"role": role, "content": content}


def test_a_greeting_comes_before_the_first_question():
    asked = parsed(said("system", "Be brief."), GREETING, said("user", "What?"))
    assert (asked.system, asked.turns, asked.question) == ("Be brief.", (Turn("", "How can I help?"),), "What?")
    (text,) = XCOMPOSER2_CHAT.build_prompt("", asked.turns, asked.question, None).parts
    assert text.index("How can I help?") < text.index("What?")


@pytest.mark.parametrize("messages", [[GREETING, GREETING, said("user", "What?")], [GREETING]])
def test_what_is_no_conversation_stays_refused(messages):
    with pytest.raises(SettingsError, match=r"^(Every|The last) message"):
        parsed(*messages)


@pytest.mark.parametrize("answer", [{"role": "assistant", "content": None}, {"role": "assistant"}])
def test_an_answer_without_words_is_an_empty_one(answer):
    assert parsed(said("user", "One?"), answer, said("user", "Two?")).turns == (Turn("One?", ""),)
    for role in ("user", "system"):
        with pytest.raises(SettingsError, match="content must be a text"):
            parsed({**answer, "role": role}, said("user", "Two?"))


def test_conversations_that_begin_with_the_same_greeting_are_told_apart():
    """And each is the same one when it has gone on."""
    first, other = (session_of(parsed(GREETING, said("user", question)), "caller") for question in ("One?", "Two?"))
    assert first != other
    later = parsed(GREETING, said("user", "One?"), said("assistant", "Yes."), said("user", "And?"))
    assert session_of(later, "caller") == first
