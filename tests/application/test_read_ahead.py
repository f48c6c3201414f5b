"""When the model reads for a page: once it stands still, for one at a time, and never before somebody's question."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from ixc.application.read_ahead import ReadAhead
from ixc.chat.interface import ReadAheadOutcome
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView
from ixc.imaging.decode import DecodedImage
from tests.two_models import SINGLE, NamedEngine, switch, two_models

AT_ONCE_S = 0.0


class Reader(NamedEngine):
    """Notes for whom it reads, and goes on until it may end or is stopped."""

    reads_ahead = True

    def __init__(self) -> None:
        super().__init__()
        self.read: list[ChatRequest] = []
        self.forgotten: list[str] = []
        self.reads, self.may_end = threading.Event(), threading.Event()
        self.stopped = threading.Event()
        self.outcome = ReadAheadOutcome.HELD
        self.may_end.set()

    @property
    def was_stopped(self) -> bool:
        return self.stopped.is_set()

    def read_ahead(self, request: ChatRequest, stop: StopFlag) -> ReadAheadOutcome:
        self.read.append(request)
        self.reads.set()
        while not self.may_end.wait(0.005):
            if stop.is_set:
                self.stopped.set()
                return ReadAheadOutcome.GAVE_WAY
        return self.outcome

    def forget(self, session_id: str) -> None:
        self.forgotten.append(session_id)


@pytest.fixture
def services():
    return two_models()


@pytest.fixture
def engine(services):
    services.provider._engine = Reader()
    return services.provider._engine


def reader(services, stands_still_s: float = AT_ONCE_S) -> ReadAhead:
    return ReadAhead(services.provider, services.store, services.line, services.traffic, stands_still_s)


def shown(services, session: str = "anna", shade: int = 200, budget: int = 4) -> ChatRequest:
    """The next question of a page that shows an image."""
    image = DecodedImage.from_pixels(np.full((30, 60, 3), shade, np.uint8))
    services.store.put_image(session, image)
    return ChatRequest(session, "", ImageView(image.image_id, budget), (), {image.image_id: image})


def test_what_stands_still_is_read_and_of_a_moving_slider_only_the_last(services, engine):
    ahead = reader(services, stands_still_s=1.0)
    requests = [shown(services, budget=budget) for budget in (9, 16, 25)]
    for request in requests:
        ahead.soon(request)
    assert ahead.wait_until_done(30)
    (read,) = engine.read
    assert read.view == requests[-1].view
    assert list(read.images) == [read.view.image_id]


def test_pages_are_read_for_one_after_the_other(services, engine):
    ahead = reader(services)
    engine.may_end.clear()
    first, second = shown(services, "anna"), shown(services, "bob")
    ahead.soon(first)
    assert engine.reads.wait(30)
    ahead.soon(second)
    assert [request.session_id for request in engine.read] == ["anna"]
    engine.may_end.set()
    assert ahead.wait_until_done(30)
    assert [request.session_id for request in engine.read] == ["anna", "bob"]
    assert not engine.was_stopped
    assert ahead.num_ended == {ReadAheadOutcome.HELD: 2}


def test_it_gives_way_to_anybody_elses_question_and_waits_for_its_end(services, engine):
    ahead = reader(services)
    engine.may_end.clear()
    ahead.soon(shown(services, "anna"))
    assert engine.reads.wait(30)
    with services.line.enter():
        assert engine.stopped.wait(30)
        engine.may_end.set()
        ahead.soon(shown(services, "bob"))
        assert not ahead.wait_until_done(0.4)
        assert len(engine.read) == 1
    assert ahead.wait_until_done(30)
    assert sorted(request.session_id for request in engine.read) == ["anna", "anna", "bob"]


def test_a_closed_page_is_not_gone_back_to(services, engine):
    ahead = reader(services)
    engine.may_end.clear()
    ahead.soon(shown(services, "anna"))
    assert engine.reads.wait(30)
    ahead.forget("anna")
    assert ahead.wait_until_done(30)
    assert len(engine.read) == 1


def test_an_engine_that_is_still_busy_is_asked_again(services, engine):
    ahead = reader(services)
    engine.outcome = ReadAheadOutcome.GAVE_WAY  # somebody left, whose answer is not over yet
    ahead.soon(shown(services))
    while len(engine.read) < 3:
        assert engine.reads.wait(30)
        engine.reads.clear()
    engine.outcome = ReadAheadOutcome.HELD
    assert ahead.wait_until_done(30)


def test_nothing_is_read_during_the_pages_own_question(services, engine):
    ahead = reader(services)
    stop = services.store.begin_answer("anna")
    with services.line.enter():
        ahead.soon(shown(services))
        assert not ahead.wait_until_done(0.4)
        assert engine.read == []
    services.store.end_answer("anna", stop)
    assert ahead.wait_until_done(30)
    assert len(engine.read) == 1


def test_the_pages_own_question_does_not_stop_it(services, engine):
    ahead = reader(services)
    engine.may_end.clear()
    ahead.soon(shown(services))
    assert engine.reads.wait(30)
    services.store.begin_answer("anna")
    with services.line.enter():
        assert not ahead.wait_until_done(0.2)
        engine.may_end.set()
        assert ahead.wait_until_done(30)
    assert not engine.was_stopped


def test_the_same_again_goes_on_and_something_else_begins_anew(services, engine):
    ahead = reader(services)
    engine.may_end.clear()
    request = shown(services)
    ahead.soon(request)
    assert engine.reads.wait(30)
    ahead.soon(replace(request))
    assert not ahead.wait_until_done(0.1)
    assert not engine.was_stopped
    engine.reads.clear()
    ahead.soon(replace(request, system="Be brief."))
    assert engine.reads.wait(30)
    assert engine.was_stopped
    engine.may_end.set()
    assert ahead.wait_until_done(30)
    assert [each.system for each in engine.read] == ["", "Be brief."]


def test_what_there_is_no_room_for_is_not_read_again(services, engine):
    ahead = reader(services)
    engine.outcome = ReadAheadOutcome.IN_VAIN
    request = shown(services)
    for _ in range(3):
        ahead.soon(request)
        assert ahead.wait_until_done(30)
    assert len(engine.read) == 1
    ahead.soon(replace(request, system="Be brief."))
    assert ahead.wait_until_done(30)
    assert len(engine.read) == 2


def test_what_was_read_is_looked_for_again(services, engine):
    """The engine knows whether it still has it: entries expire, and a model may have been loaded anew."""
    ahead = reader(services)
    request = shown(services)
    for _ in range(3):
        ahead.soon(request)
        assert ahead.wait_until_done(30)
    assert len(engine.read) == 3


def test_a_closed_page_is_not_read_for_and_nothing_is_kept_of_it(services, engine):
    ahead = reader(services, stands_still_s=1.0)
    ahead.soon(shown(services, "bob"))
    services.store.close("bob")  # without a word to the reader
    assert ahead.wait_until_done(30)
    assert engine.read == []
    engine.may_end.clear()
    ahead.soon(shown(services, "anna"))
    assert engine.reads.wait(30)
    services.store.close("anna")
    ahead.forget("anna")
    assert ahead.wait_until_done(30)
    assert engine.was_stopped
    assert engine.forgotten == ["anna"]


def test_a_switch_of_models_does_not_wait_for_it(services, engine, monkeypatch):
    monkeypatch.setattr("ixc.application.engine_provider._GONE_WITHIN_S", 0.0)  # this test holds the old one
    ahead = reader(services)
    engine.may_end.clear()
    ahead.soon(shown(services))
    assert engine.reads.wait(30)
    switch(services, SINGLE)
    assert engine.was_stopped


def test_an_engine_that_fails_at_it_is_asked_again_for_others(services, engine, caplog):
    ahead = reader(services)
    engine.read_ahead = lambda request, stop: 1 / 0
    ahead.soon(shown(services, "anna"))
    assert ahead.wait_until_done(30)
    assert "reading ahead failed" in caplog.text
    del engine.read_ahead
    ahead.soon(shown(services, "bob"))
    assert ahead.wait_until_done(30)
    assert [request.session_id for request in engine.read] == ["bob"]
