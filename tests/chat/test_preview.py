"""What the next question is said to cost is what it then costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ixc.chat.interface import ChatEngine
from ixc.chat.request import ChatRequest
from ixc.conversation import ImageView
from tests.chat.conftest import GREEDY


def next_request(chat, image, question="", max_patches=4):
    view = ImageView(image, max_patches) if image else None
    return ChatRequest(chat.session_id, question, view, tuple(chat.turns), chat.images, chat.system, GREEDY)


def num_tokens(engine, request, preview):
    """All of the prompt."""
    plan = engine.layout.plan(request.images[request.view.image_id].size_px, request.view.max_patches) if request.view else None
    return preview.num_before + (plan.num_visual_tokens if plan else 0) + preview.num_after


def test_the_tokens_are_those_of_the_prompt(engine, new_chat, landscape, portrait):
    """Also of a model that keeps all images, one of them under another budget, and of a question without an image."""
    chat = new_chat(system="Be brief.")
    for question, image, budget in (("What?", landscape, 4), ("Old?", landscape, 9), ("This?", portrait, 4), ("Who?", None, 1)):
        asked = next_request(chat, image, question, budget)
        preview = engine.preview(asked)
        answer = chat.ask(question, image, max_patches=budget)
        assert num_tokens(engine, asked, preview) == answer.stats.num_prompt_tokens
        assert preview.num_turns == len(chat.turns) - 1
        plain = ChatEngine.preview(engine, asked)  # as of an engine whose model is elsewhere
        assert (plain.num_before, plain.num_after) == (preview.num_before, preview.num_after)


def test_the_image_that_is_asked_about_stands_where_the_prompt_has_it_last(engine, new_chat, landscape, portrait):
    chat = new_chat()
    first = engine.preview(next_request(chat, landscape))
    chat.ask("What?", landscape)
    on = engine.preview(next_request(chat, landscape))
    assert on.num_before == first.num_before
    assert on.num_after > first.num_after
    other = engine.preview(next_request(chat, portrait))
    assert other.num_before > 757  # the first image's tokens
    chat.ask("This?", portrait)
    back = engine.preview(next_request(chat, landscape))
    assert back.num_before > other.num_before


def test_what_was_read_already_takes_no_time_again(engine, new_chat, landscape):
    chat = new_chat()
    first = engine.preview(next_request(chat, landscape))
    assert first.cost == engine.estimate(
        engine.layout.plan(chat.images[landscape].size_px, 4), first.num_before + first.num_after
    )
    chat.ask("What?", landscape)
    on = engine.preview(next_request(chat, landscape))
    assert on.cost.memory_bytes > first.cost.memory_bytes
    engine.forget(chat.session_id)
    again = engine.preview(next_request(chat, landscape))
    assert again.cost.memory_bytes == on.cost.memory_bytes
    assert on.cost.time_to_first_token_ms < again.cost.time_to_first_token_ms / 5


def test_looking_costs_the_session_nothing(engine, new_chat, landscape):
    chat = new_chat()
    before = engine.memory_report()
    engine.preview(next_request(chat, landscape))
    assert engine.memory_report() == before


@pytest.mark.parametrize("held", ["all", "none of before"])
def test_images_that_are_gone_are_not_counted(engine, new_chat, landscape, portrait, held):
    chat = new_chat()
    chat.ask("What?", landscape)
    asked = next_request(chat, portrait)
    if held != "all":
        asked = replace(asked, images={portrait: chat.images[portrait]})
    assert (engine.preview(asked).num_before > 757) == (held == "all")
