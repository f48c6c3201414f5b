"""What the left half and the comparison answer when the page knows something that the server does not, or the reverse."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ixc.application.engine_provider import EngineProvider
from ixc.application.messages import Message
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.imaging.decode import DecodedImage
from ixc.settings import Settings
from ixc.tiling import plan_tiles
from ixc.ui.compare import CompareHandlers
from ixc.ui.examples import load_examples
from ixc.ui.image_panel import ImageHandlers, stage_value
from ixc.ui.transcript import AskedView, Conversation, Exchange
from tests.two_models import NamedEngine, two_models

PAGE = SimpleNamespace(session_hash="anna")
GONE = {"code": "ImageGone", "detail": "The image is no longer held by the server; upload it again."}


def services(model: str = "ixc-nano") -> Services:
    """Nothing is loaded."""
    settings = Settings(model=model)
    return Services(settings, EngineProvider(settings), SessionStore(), WaitingLine(1))


@pytest.fixture
def image() -> DecodedImage:
    return DecodedImage.from_pixels(np.zeros((200, 300, 3), np.uint8))


def event(**data: object) -> SimpleNamespace:
    return SimpleNamespace(_data=data)


def is_skipped(value: object) -> bool:
    return value == {"__type__": "update"}


def test_the_slider_moves_the_plan_of_an_image_that_is_held(image):
    shared = services()
    shown = stage_value(shared.store.put_image("anna", image))
    stage, plan = ImageHandlers(shared).follow_slider(4, shown, PAGE)
    assert is_skipped(stage)
    assert plan["plan"]["budget"] == 4


def test_an_image_that_was_freed_while_it_was_shown_is_missed_by_the_slider(image):
    shared = services()
    shown = stage_value(shared.store.put_image("anna", image))
    shared.store.close("anna")  # the connection broke, the page is still there
    stage, plan = ImageHandlers(shared).follow_slider(4, shown, PAGE)
    assert (stage["image"], stage["error"], plan) == (None, GONE, None)


@pytest.mark.parametrize("stage", [stage_value(None), None, "", [], {"image": None}])
def test_a_page_without_an_image_misses_none(stage):
    assert all(is_skipped(value) for value in ImageHandlers(services()).follow_slider(4, stage, PAGE))


def test_an_image_that_was_freed_is_missed_by_the_comparison_every_time(image):
    shared = services()
    shared.store.put_image("anna", image)
    handlers = CompareHandlers(shared)
    assert handlers.look(event(budget=4), PAGE)["error"] is None
    refused = handlers.look(event(budget=1000), PAGE)
    assert (refused["error"]["code"], refused["isGone"]) == ("BudgetOutOfRange", False)
    shared.store.close("anna")
    first, second = handlers.look(event(budget=4), PAGE), handlers.look(event(budget=4), PAGE)
    assert (first["error"], first["isGone"]) == (GONE, True)
    assert first != second  # Gradio tells the page only of what changed


@pytest.mark.parametrize("model", ["ixc-nano", "inf-nano"])
def test_a_model_that_understands_only_english_is_asked_in_english(model):
    for index, example in enumerate(load_examples()[:3]):
        stage, *_ = ImageHandlers(services(model)).open_example(4, event(index=index, language="zh"), PAGE)
        assert stage["question"] == example.questions["en"]
        assert stage["question"].isascii()


def test_any_other_model_is_asked_in_the_pages_language():
    handlers = ImageHandlers(services("4khd-7b"))
    stage, *_ = handlers.open_example(4, event(index=0, language="zh"), PAGE)
    assert stage["question"] == "图片上写了什么？"
    stage, *_ = handlers.open_example(4, event(index=0, language="tlh"), PAGE)
    assert stage["question"] == "What does the sign say?"


def test_a_plan_says_what_it_was_made_for(image):
    shared = services("4khd-7b")
    shown = stage_value(shared.store.put_image("anna", image))
    _, plan = ImageHandlers(shared).follow_slider(4, shown, PAGE)
    assert plan["askedFor"] == {"budget": 4, "model": "4khd-7b"}


def test_a_page_that_shows_another_image_than_is_held_gets_that_one(image):
    shared = services()
    shown = stage_value(shared.store.put_image("anna", image))
    shared.store.put_image("anna", DecodedImage.from_pixels(np.ones((50, 50, 3), np.uint8)))
    stage, plan = ImageHandlers(shared).follow_slider(4, shown, PAGE)
    assert stage["image"]["id"] == plan["imageId"] != shown["image"]["id"]


def test_an_image_of_the_conversation_comes_back_at_its_budget(image):
    shared = services()
    shown = stage_value(shared.store.put_image("anna", image))
    shared.store.put_image("anna", DecodedImage.from_pixels(np.ones((50, 50, 3), np.uint8)))
    handlers = ImageHandlers(shared)
    stage, plan, budget = handlers.reopen(9, event(image=shown["image"]["id"], budget=4), PAGE)
    assert stage["image"] == shown["image"]
    assert (plan["imageId"], plan["plan"]["budget"], budget) == (shown["image"]["id"], 4, 4)
    assert shared.store.current("anna").image is image
    *_, budget = handlers.reopen(9, event(image=shown["image"]["id"], budget="x"), PAGE)  # anybody may have sent it
    assert budget == 9
    *_, budget = handlers.reopen(9, event(image=shown["image"]["id"], budget=10**9), PAGE)
    assert budget == 64


@pytest.mark.parametrize("key", ["", "0" * 16, None, 3])
def test_an_image_of_the_conversation_that_is_no_longer_held_is_missed_and_the_shown_one_stays(image, key):
    shared = services()
    shown = stage_value(shared.store.put_image("anna", image))
    shared.store.put_image("bert", DecodedImage.from_pixels(np.full((50, 50, 3), 7, np.uint8)))
    stage, plan, budget = ImageHandlers(shared).reopen(9, event(image=key, budget=4), PAGE)
    assert (stage["image"], stage["error"]) == (shown["image"], GONE)
    assert is_skipped(plan)
    assert is_skipped(budget)


def test_an_example_comes_back_to_a_page_that_was_loaded_again():
    shared = services()
    handlers = ImageHandlers(shared)
    shown, *_ = handlers.open_example(9, event(index=3, language="en"), PAGE)
    shared.store.close("anna")
    again = SimpleNamespace(session_hash="anna again")
    stage, plan, budget = handlers.reopen(9, event(image=shown["image"]["id"], budget=4), again)
    assert (stage["image"]["id"], stage["error"]) == (shown["image"]["id"], None)
    assert (plan["imageId"], plan["plan"]["budget"], budget) == (shown["image"]["id"], 4, 4)
    assert shared.store.current("anna again").image.image_id.startswith(shown["image"]["id"])


def test_an_image_of_another_page_does_not_come_back(image):
    shared = services()
    key = stage_value(shared.store.put_image("bert", image))["image"]["id"]
    stage, *_ = ImageHandlers(shared).reopen(9, event(image=key, budget=4), PAGE)
    assert (stage["image"], stage["error"]) == (None, GONE)


def test_the_numbers_are_those_of_the_next_question_in_the_conversation(image):
    """``NamedEngine`` has a token a letter."""
    shared = two_models()
    held = shared.store.put_image("anna", image)
    plan = plan_tiles(image.size_px, 4)
    refused = Exchange("And?", error=Message("OutOfMemory"))
    talk = Conversation((Exchange("Which?", AskedView(image.image_id, plan), "West."), refused))
    _, first = ImageHandlers(shared).follow_slider(4, stage_value(held), PAGE, None, "Be brief.")
    _, on = ImageHandlers(shared).follow_slider(4, stage_value(held), PAGE, talk, "Be brief.")
    frame = len("[UNUSED_TOKEN_145]\n[UNUSED_TOKEN_146]assistant\n[UNUSED_TOKEN_145]\n[UNUSED_TOKEN_146]user\n")
    assert on["text"] == {**first["text"], "after": first["text"]["after"] + len("Which?West.") + frame, "turns": 1}
    assert on["room"]["tokens"] == on["text"]["before"] + plan.num_visual_tokens + on["text"]["after"]
    assert f'data-total="{on["room"]["tokens"]}"' in on["ribbon"]
    _, longer = ImageHandlers(shared).follow_slider(4, stage_value(held), PAGE, None, "Be very brief.")
    assert longer["text"]["before"] == first["text"]["before"] + len("very ")


def test_the_numbers_leave_out_what_the_model_is_not_told_of(image):
    shared = two_models()
    shared.provider._engine = NamedEngine(sees_one_image=True)
    held = shared.store.put_image("anna", image)
    talk = Conversation((Exchange("Which?", AskedView("another", plan_tiles(image.size_px, 4)), "West."),))
    _, first = ImageHandlers(shared).follow_slider(4, stage_value(held), PAGE)
    _, on = ImageHandlers(shared).follow_slider(4, stage_value(held), PAGE, talk, "")
    assert on["text"] == first["text"]
