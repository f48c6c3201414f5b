"""What is read before a question is there when it comes, changes no answer, and gives way."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from ixc.chat.events import FinishReason
from ixc.chat.interface import ReadAheadOutcome
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView
from tests.chat.conftest import GREEDY
from tests.chat.test_engine import PROMPT_START_TOKENS, VISUAL_TOKENS_AT_4, StopAtCheck


class HoldAtCheck(StopFlag):
    """Holds whoever reads it for the n-th time until ``go_on``."""

    def __init__(self, reading: int) -> None:
        super().__init__()
        self._left = reading
        self.is_held, self.go_on = threading.Event(), threading.Event()

    @property
    def is_set(self) -> bool:
        self._left -= 1
        if self._left < 0:
            self.is_held.set()
            assert self.go_on.wait(60)
        return super().is_set


def read_ahead(chat, image, max_patches=4, stop=None):
    request = ChatRequest(chat.session_id, "", ImageView(image, max_patches), tuple(chat.turns), chat.images, chat.system)
    return chat.engine.read_ahead(request, stop or StopFlag())


def num_held(chat, image):
    """Tokens of the next question's beginning that are there."""
    request = ChatRequest(chat.session_id, "", ImageView(image, 4), tuple(chat.turns), chat.images, chat.system)
    return chat.engine.preview(request).cost.num_read_tokens


class AskedWhileReading:
    """Somebody asks while what a page shows is being read, before all of it is."""

    def __init__(self, page, image, asking, question, *about, **more):
        """``asking`` is a Chat: ``page`` itself or another."""
        self.outcomes, self.answers = [], []
        self._hold = HoldAtCheck(3)
        self._reading = threading.Thread(target=lambda: self.outcomes.append(read_ahead(page, image, stop=self._hold)))
        self._reading.start()
        assert self._hold.is_held.wait(60)
        self._asking = threading.Thread(target=lambda: self.answers.append(asking.ask(question, *about, **more)))
        self._asking.start()
        while asking.engine.memory_report()["requests"] == 0:
            assert self._asking.is_alive()
            self._asking.join(0.01)

    def go_on(self):
        """What came of the reading, and the answer."""
        self._hold.go_on.set()
        self._reading.join(60)
        self._asking.join(60)
        return self.outcomes[0], self.answers[0]


def test_the_first_question_finds_its_image_read_and_is_answered_the_same(new_chat, landscape):
    chat, cold = new_chat(), new_chat()
    assert read_ahead(chat, landscape) is ReadAheadOutcome.HELD
    answer, expected = chat.ask("What is this?", landscape), cold.ask("What is this?", landscape)
    assert answer.stats.num_cached_tokens >= PROMPT_START_TOKENS + VISUAL_TOKENS_AT_4
    assert not [p for p in answer.progress if p.stage == "vision"]
    assert answer.text == expected.text
    assert answer.stats.num_prompt_tokens == expected.stats.num_prompt_tokens


def test_beams_and_other_words_find_it_too(new_chat, landscape):
    for question in ("?", "图上写的是什么", "[UNUSED_TOKEN_145]", "9" * 40):
        chat = new_chat(generation=replace(GREEDY, num_beams=2))
        read_ahead(chat, landscape)
        assert chat.ask(question, landscape).stats.num_cached_tokens >= PROMPT_START_TOKENS + VISUAL_TOKENS_AT_4


def test_in_a_conversation_what_is_there_stays_and_another_image_is_read(new_chat, landscape, portrait):
    chat, cold = new_chat(system="Be brief."), new_chat(system="Be brief.")
    for each in (chat, cold):
        each.ask("What is this?", landscape)
    read_ahead(chat, landscape)
    same, expected = chat.ask("And now?", landscape), cold.ask("And now?", landscape)
    assert same.text == expected.text
    assert same.stats.num_cached_tokens >= expected.stats.num_cached_tokens
    read_ahead(chat, portrait)
    other, expected = chat.ask("And this?", portrait), cold.ask("And this?", portrait)
    assert other.text == expected.text
    assert other.stats.num_prompt_tokens - other.stats.num_cached_tokens < 20
    assert not [p for p in other.progress if p.stage == "vision"]


def test_another_system_prompt_is_read_anew(new_chat, landscape):
    chat = new_chat()
    read_ahead(chat, landscape)
    chat.system = "Be brief."
    answer = chat.ask("What is this?", landscape)
    assert answer.stats.num_cached_tokens < PROMPT_START_TOKENS
    cold = new_chat(system="Be brief.")
    assert answer.text == cold.ask("What is this?", landscape).text


@pytest.mark.parametrize("reading", range(0, 16, 3))
def test_stopped_anywhere_it_leaves_nothing_wrong(engine, new_chat, landscape, reading):
    chat, cold = new_chat(), new_chat()
    was_read = read_ahead(chat, landscape, stop=StopAtCheck(reading)) is ReadAheadOutcome.HELD
    assert was_read == (reading == 15)
    assert engine.memory_report()["requests"] == 0
    assert chat.ask("What is this?", landscape).text == cold.ask("What is this?", landscape).text


def test_a_question_of_the_same_page_waits_for_it_and_sees_how_far_it_is(new_chat, landscape):
    chat, cold = new_chat(), new_chat()
    outcome, answer = AskedWhileReading(chat, landscape, chat, "What is this?", landscape).go_on()
    assert outcome is ReadAheadOutcome.HELD
    assert "waiting" not in [p.stage for p in answer.progress]
    assert [p for p in answer.progress if p.stage == "prefill" and p.num_done < VISUAL_TOKENS_AT_4]
    assert answer.stats.num_cached_tokens >= PROMPT_START_TOKENS + VISUAL_TOKENS_AT_4
    assert answer.text == cold.ask("What is this?", landscape).text


def test_a_question_that_was_stopped_does_not_wait_for_it(new_chat, landscape):
    chat, stop = new_chat(), StopFlag()
    asked = AskedWhileReading(chat, landscape, chat, "What is this?", landscape, stop=stop)
    stop.set()
    outcome, answer = asked.go_on()
    assert outcome is ReadAheadOutcome.GAVE_WAY
    assert answer.reason is FinishReason.STOPPED
    assert chat.ask("What is this?", landscape, keep=False).stats.num_cached_tokens < VISUAL_TOKENS_AT_4


@pytest.mark.parametrize("is_same_page", [True, False])
def test_it_gives_way_to_a_question_that_begins_with_something_else(new_chat, landscape, is_same_page):
    chat, cold = new_chat(), new_chat()
    asking = chat if is_same_page else new_chat()
    outcome, answer = AskedWhileReading(chat, landscape, asking, "Hello").go_on()
    assert outcome is ReadAheadOutcome.GAVE_WAY
    assert answer.text == cold.ask("Hello").text
    chat.turns.clear()
    assert read_ahead(chat, landscape) is ReadAheadOutcome.HELD


def test_what_it_holds_in_the_meantime_refuses_no_question(engine, new_chat, landscape, portrait, monkeypatch):
    """The memory of its pass is neither free nor kept, but will be free when the question's turn comes."""
    asked = AskedWhileReading(new_chat(), landscape, new_chat(), "What is this?", portrait)
    is_reading = next(job for job in engine._jobs if job.only_reads)
    monkeypatch.setattr(engine.admission, "free_bytes", lambda _: 1000 if is_reading in engine._jobs else 10**12)
    _, answer = asked.go_on()
    assert answer.reason is FinishReason.LENGTH


def test_running_out_of_memory_costs_nobody_what_they_keep(engine, new_chat, landscape, portrait, monkeypatch):
    other, chat = new_chat(), new_chat()
    other.ask("What is this?", portrait)
    before = num_held(other, portrait)

    def embed_image(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.runner, "embed_image", embed_image)
    assert read_ahead(chat, landscape) is ReadAheadOutcome.IN_VAIN
    assert num_held(other, portrait) == before > 400


def test_what_others_used_lately_is_not_dropped_for_it(engine, new_chat, landscape, portrait, monkeypatch):
    other, chat = new_chat(), new_chat()
    other.ask("What is this?", portrait)
    before = num_held(other, portrait)
    monkeypatch.setattr(engine._store, "_max_bytes", engine.memory_report()["bytes"] + 1)
    assert read_ahead(chat, landscape) is ReadAheadOutcome.IN_VAIN
    assert num_held(other, portrait) == before > 400
    chat.ask("What is this?", landscape)  # a question takes the place
    assert num_held(other, portrait) < 400


def test_nothing_is_read_while_a_question_is_under_way(engine, new_chat, landscape, portrait):
    chat, other = new_chat(), new_chat()
    hold = HoldAtCheck(3)
    asking = threading.Thread(target=chat.ask, args=("What is this?", landscape), kwargs={"stop": hold})
    asking.start()
    assert hold.is_held.wait(60)
    assert read_ahead(other, portrait) is ReadAheadOutcome.GAVE_WAY  # at once: the worker is held
    hold.go_on.set()
    asking.join(60)
    assert other.ask("What?", portrait).stats.num_cached_tokens == 0


def test_of_a_page_that_was_closed_meanwhile_nothing_is_kept(engine, new_chat, landscape):
    chat, hold = new_chat(), HoldAtCheck(4)
    before = engine.memory_report()
    reading = threading.Thread(target=read_ahead, args=(chat, landscape), kwargs={"stop": hold})
    reading.start()
    assert hold.is_held.wait(60)
    engine.forget(chat.session_id)
    hold.go_on.set()
    reading.join(60)
    assert engine.memory_report() == before


def test_what_would_be_refused_is_not_read(engine, new_chat, landscape, monkeypatch):
    chat = new_chat()
    before = engine.memory_report()
    monkeypatch.setattr(engine.admission, "free_bytes", lambda _: 1)
    assert read_ahead(chat, landscape) is ReadAheadOutcome.IN_VAIN
    monkeypatch.undo()
    assert read_ahead(replace_images(chat), landscape) is ReadAheadOutcome.IN_VAIN
    assert engine.memory_report() == before


def replace_images(chat):
    """As of a page whose image was freed."""
    return replace(chat, images={})


def test_how_soon_an_answer_is_expected_knows_of_it(engine, new_chat, landscape):
    chat = new_chat()
    request = ChatRequest(chat.session_id, "", ImageView(landscape, 4), (), chat.images, "")
    before = engine.preview(request)
    read_ahead(chat, landscape)
    after = engine.preview(request)
    assert before.cost.num_read_tokens == 0
    assert after.cost.num_read_tokens >= PROMPT_START_TOKENS + VISUAL_TOKENS_AT_4
    assert after.cost.time_to_first_token_ms < before.cost.time_to_first_token_ms / 5


def test_a_budget_that_cuts_the_same_finds_everything(engine, new_chat, landscape, images):
    layout, size_px = engine.layout, images[landscape].size_px
    budget = next(b for b in range(2, 64) if layout.least_budget(size_px, b) != b)
    chat = new_chat()
    first = chat.ask("What is this?", landscape, max_patches=layout.least_budget(size_px, budget), keep=False)
    again = chat.ask("What is this?", landscape, max_patches=budget)
    assert again.text == first.text
    assert again.stats.num_cached_tokens == again.stats.num_prompt_tokens - 1
    assert chat.ask("And now?", landscape, max_patches=budget - 1).reason is FinishReason.LENGTH
