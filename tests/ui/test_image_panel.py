"""What the left half and the comparison answer when the page knows something that the server does not, or the reverse."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.imaging.decode import DecodedImage
from ixc.settings import Settings
from ixc.ui.compare import CompareHandlers
from ixc.ui.examples import load_examples
from ixc.ui.image_panel import ImageHandlers, stage_value

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
