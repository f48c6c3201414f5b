"""Every answer carries the settings it was made with, and says when it was made without an image of before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
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
from ixc.errors import ConversationTooLong
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings, Settings
from ixc.ui.chat_panel import ChatHandlers
from ixc.ui.export import export_json
from ixc.ui.transcript import Conversation, restored, transcript_page_value
from tests.two_models import LOOKUP_TOKENS, TILED, NamedEngine

PAGE = SimpleNamespace(session_hash="anna", username=None, client=None)
STAGE, NO_STAGE = {"image": {"id": "x"}}, {"image": None}


class Parrot(NamedEngine):
    """It answers with the number of images it was told of, and with nothing where that is too many."""

    most_images = 9

    def answer(self, request: ChatRequest, _: Any) -> Iterator[Event]:
        self.requests.append(request)
        views = [view for view in (request.view, *(turn.view for turn in request.turns)) if view]
        if len(views) > self.most_images:
            raise ConversationTooLong("The conversation is too long.")
        yield TextDelta(str(len(views)))
        yield Finished(FinishReason.END_OF_TURN, AnswerStats(1.0, 1, 0, 1, 1.0, 0))


def served(engine: Parrot, max_images: int) -> Services:
    provider = EngineProvider(Settings(), lambda *_: engine)
    provider.start()
    assert provider.wait(10)
    return Services(Settings(), provider, SessionStore(StoreLimits(max_images_per_session=max_images)), WaitingLine(1))


@pytest.fixture
def services() -> Services:
    return served(Parrot(), max_images=1)


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
        GenerationSettings(max_new_tokens=77, seed=9, prompt_lookup_tokens=LOOKUP_TOKENS),
        "Be brief.",
        16,
    )
    assert (second.used.generation.max_new_tokens, second.used.system, second.used.budget) == (5, "", None)
    assert (first.model, second.model) == (TILED.title, TILED.title)


def test_an_answer_that_was_made_without_an_earlier_image_says_so(services):
    open_image(services, 1)
    one = ask(services, None, STAGE, 16, controls(5))
    two = ask(services, one, STAGE, 16, controls(5))
    open_image(services, 2)  # one is held at most
    three = ask(services, two, STAGE, 16, controls(5))
    assert [exchange.answer for exchange in three.exchanges] == ["1", "2", "1"]
    assert [exchange.lacks_image for exchange in three.exchanges] == [False, False, True]
    assert three.exchanges[-1].page_value()["lacksImage"] is True


def test_a_refused_question_does_not_say_what_the_model_answered_without(services):
    open_image(services, 1)
    one = ask(services, None, STAGE, 16, controls(5))
    open_image(services, 2)  # one is held at most
    services.provider.engine.most_images = 0
    two = ask(services, one, STAGE, 16, controls(5))
    assert [(each.error is None, each.lacks_image) for each in two.exchanges] == [(True, False), (False, False)]


def test_a_model_that_looks_at_one_image_at_a_time_is_told_of_no_other():
    """Neither of another image, nor of one after it was removed; what it was not told of stays in the conversation."""
    services, conversation = served(Parrot(sees_one_image=True), max_images=6), None
    for value, stage in ((1, STAGE), (1, STAGE), (2, STAGE), (None, NO_STAGE), (None, NO_STAGE), (1, STAGE)):
        if value is None:
            services.store.clear_current("anna")
        else:
            open_image(services, value)
        conversation = ask(services, conversation, stage, 16, controls(5))
    assert [each.answer for each in conversation.exchanges] == ["1", "2", "1", "0", "0", "3"]
    assert [each.num_left_out for each in conversation.exchanges] == [0, 0, 2, 3, 3, 1]
    assert [each.page_value()["leftOut"] for each in conversation.exchanges] == [0, 0, 2, 3, 3, 1]
    last = services.provider.engine.requests[-1]
    assert [turn.view is None for turn in last.turns] == [False, False, True, True]
    assert not any(each.lacks_image for each in conversation.exchanges)


def test_a_model_that_looks_at_one_image_at_a_time_misses_no_other():
    services = served(Parrot(sees_one_image=True), max_images=1)
    open_image(services, 1)
    one = ask(services, None, STAGE, 16, controls(5))
    open_image(services, 2)  # one is held at most
    two = ask(services, one, STAGE, 16, controls(5))
    assert [(each.lacks_image, each.num_left_out) for each in two.exchanges] == [(False, 0), (False, 1)]


def after_a_reload(services: Services, conversation: Conversation) -> tuple[dict, Conversation]:
    """As the page's script keeps it, and what the new page, with nothing held for it, is shown."""
    kept = json.loads(json.dumps(transcript_page_value(conversation)))["exchanges"]
    services.store.close("anna")
    event = SimpleNamespace(_data={"exchanges": kept, "numViews": sum(bool(each["image"]) for each in kept)})
    shown, restored = ChatHandlers(services).restore(event, None, AGAIN)
    return shown, restored


AGAIN = SimpleNamespace(session_hash="anna again", username=None, client=None)


def test_after_reloads_a_question_still_says_that_it_had_an_image():
    services = served(Parrot(), max_images=6)
    open_image(services, 1)
    conversation = ask(services, None, STAGE, 16, controls(5))
    for _ in range(2):
        shown, conversation = after_a_reload(services, conversation)
        assert shown["error"]["code"] == "PageReloaded"
    *_, (_, followed) = ChatHandlers(services).ask(AGAIN, "And?", conversation, None, NO_STAGE, 16, *controls(5))
    assert [each.lacks_image for each in followed.exchanges] == [False, True]
    exported = export_json(followed, None, services.provider.status, datetime.now(UTC))["exchanges"]
    assert [(each["had_image"], each["lacks_earlier_image"]) for each in exported] == [(True, False), (False, True)]


def test_after_a_reload_the_same_image_is_found_again():
    services = served(Parrot(), max_images=6)
    open_image(services, 1)
    _, conversation = after_a_reload(services, ask(services, None, STAGE, 16, controls(5)))
    services.store.put_image("anna again", DecodedImage.from_pixels(np.full((20, 30, 3), 1, np.uint8)))
    *_, (_, followed) = ChatHandlers(services).ask(AGAIN, "And?", conversation, None, STAGE, 9, *controls(5))
    assert followed.exchanges[-1].answer == "2"
    assert not followed.exchanges[-1].lacks_image
    told = services.provider.engine.requests[-1]
    assert told.turns[0].view.image_id == told.view.image_id
    assert (told.turns[0].view.max_patches, told.view.max_patches) == (16, 9)


def again(services: Services, way: str, shown: Conversation, index: int, stage: dict) -> tuple[dict, Any]:
    """The page after Retry, or after an edit of the question at ``index``."""
    handlers, inputs = ChatHandlers(services), (shown, None, stage, 9, *controls(100))
    if way == "retry":
        *_, last = handlers.retry(PAGE, *inputs)
    else:
        *_, last = handlers.edit(PAGE, SimpleNamespace(_data={"index": index, "text": "Who?"}), *inputs)
    return last


@pytest.mark.parametrize("way", ["retry", "edit"])
def test_asked_again_a_question_is_about_its_own_image(way):
    services = served(Parrot(), max_images=2)
    open_image(services, 1)
    shown = ask(services, None, STAGE, 16, controls(100))
    own = shown.exchanges[0].view.image_id
    open_image(services, 2)
    _, answered = again(services, way, shown, 0, STAGE)
    (exchange,) = answered.exchanges
    assert (exchange.view.image_id, exchange.view.plan.max_patches) == (own, 9)
    assert services.provider.engine.requests[-1].view.image_id == own


@pytest.mark.parametrize("way", ["retry", "edit"])
def test_asked_again_without_its_image_a_question_is_refused_and_everything_stays(services, way):
    open_image(services, 1)
    shown = ask(services, None, STAGE, 16, controls(100))
    for kept in (shown, restored([shown.exchanges[0].page_value()])):  # also after the page was loaded again
        services.store.close("anna")
        services.store._closed.clear()  # loaded again, it is the same page
        value, _ = again(services, way, kept, 0, NO_STAGE)
        assert value["error"]["code"] == "ImageGone"
        assert len(value["exchanges"]) == 1
    assert len(services.provider.engine.requests) == 1


def test_where_another_image_took_its_place_a_question_is_asked_about_that(services):
    open_image(services, 1)
    shown = ask(services, None, STAGE, 16, controls(100))
    open_image(services, 2)  # one is held
    _, answered = again(services, "retry", shown, 0, STAGE)
    assert answered.exchanges[0].view.image_id != shown.exchanges[0].view.image_id
