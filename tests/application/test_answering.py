"""From a question to its events: what an answer says of the time it waited begins when its place in the line was taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ixc.application.answering import answer_events
from ixc.application.services import Services
from ixc.application.waiting import WaitingLine
from ixc.chat.events import AnswerStats, Event, Finished, FinishReason, PrefillProgress
from ixc.chat.request import ChatRequest, StopFlag
from tests.two_models import NamedEngine, two_models


class Clock:
    """Seconds that pass when the test says so."""

    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


class Queued(NamedEngine):
    """An engine in which the question waits for another 250 ms."""

    def answer(self, request: ChatRequest, stop: StopFlag) -> Iterator[Event]:
        yield Finished(FinishReason.END_OF_TURN, AnswerStats(1.0, 1, 0, 1, None, 0, waited_ms=250.0))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def services(clock) -> Services:
    return replace(two_models(), line=WaitingLine(4, clock=clock))


def ask(services: Services, ticket, stop: StopFlag | None = None) -> Iterator[Event]:
    return answer_events(services, ticket, stop or StopFlag(), lambda engine: ChatRequest("a", "What?"))


@pytest.mark.parametrize(("engine", "waited_ms"), [(NamedEngine, 3000.0), (Queued, 3250.0)])
def test_the_time_in_the_line_counts_and_that_in_the_engine_too(services, clock, engine, waited_ms):
    services.provider._engine = engine()
    ahead, ticket = services.line.enter(), services.line.enter()
    events = ask(services, ticket)
    assert next(events) == PrefillProgress("line", 0, 1)
    clock.now_s += 3
    ahead.leave()
    *_, last = events
    assert last.stats.waited_ms == waited_ms


def test_the_time_that_a_model_loads_counts(services, clock):
    services.provider._done.clear()
    events = ask(services, services.line.enter())
    assert next(events) == PrefillProgress("loading", 0, 100)
    clock.now_s += 2
    services.provider._done.set()
    *_, last = events
    assert last.stats.waited_ms == 2000.0


def test_the_time_that_the_answer_takes_does_not(services, clock):
    engine = services.provider.engine
    engine.may_speak.clear()
    events, seen = ask(services, services.line.enter()), []
    thread = threading.Thread(target=lambda: seen.extend(events))
    thread.start()
    assert engine.is_asked.wait(10)
    clock.now_s += 60
    engine.may_speak.set()
    thread.join(10)
    assert seen[-1].stats.waited_ms == 0.0


def test_who_gives_up_in_the_line_has_waited_too(services, clock):
    services.line.enter()
    stop = StopFlag()
    events = ask(services, services.line.enter(), stop)
    next(events)
    clock.now_s += 7
    stop.set()
    *_, last = events
    assert (last.reason, last.stats.waited_ms) == (FinishReason.STOPPED, 7000.0)


def test_leaving_the_events_leaves_the_engine(services):
    engine = services.provider.engine
    engine.tells_progress = True
    events = ask(services, services.line.enter())
    assert next(events) == PrefillProgress("prefill", 0, 1)
    events.close()
    assert services.traffic.num_running == 0
    assert services.provider._num_borrowers == 0
