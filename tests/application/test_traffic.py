"""The answers under way: counted whatever way they end, and told why when the app ends them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ixc.application.traffic import AnswerEnd, AppStopping, Traffic
from ixc.chat.events import AnswerStats, Event, Finished, FinishReason, TextDelta
from ixc.chat.request import StopFlag
from ixc.errors import OutOfMemory

STATS = AnswerStats(12.0, 100, 40, 2, None, 30)


def answer(stop: StopFlag, texts: int = 3, fails: bool = False) -> Iterator[Event]:
    """An engine's events: ends early when stopped."""
    for number in range(texts):
        if stop.is_set:
            yield Finished(FinishReason.STOPPED, STATS)
            return
        yield TextDelta(str(number))
    if fails:
        raise OutOfMemory("The device ran out of memory; lower the max patches.")
    yield Finished(FinishReason.END_OF_TURN, STATS)


@pytest.fixture
def ends():
    return []


@pytest.fixture
def traffic(ends):
    seconds = iter(range(100))
    watched = Traffic(clock=lambda: next(seconds))
    watched.listen(ends.append)
    return watched


def test_an_answer_passes_unchanged_and_is_counted_once(traffic, ends):
    stop = StopFlag()
    events = []
    for event in traffic.watch(answer(stop), stop):
        events.append(event)
        assert traffic.num_running == 1
    assert events == list(answer(StopFlag()))
    assert traffic.num_running == 0
    assert ends == [AnswerEnd("end_of_turn", 1.0, STATS)]


def test_failures_and_closed_pages_are_counted_too(traffic, ends):
    stop = StopFlag()
    with pytest.raises(OutOfMemory):
        list(traffic.watch(answer(stop, fails=True), stop))
    leaving = traffic.watch(answer(stop), stop)
    next(leaving)
    leaving.close()
    assert [end.outcome for end in ends] == ["OutOfMemory", "left"]
    assert traffic.num_running == 0


def test_a_user_s_own_stop_is_no_news(traffic, ends):
    stop = StopFlag()
    watched = traffic.watch(answer(stop), stop)
    next(watched)
    stop.set()
    assert list(watched) == [Finished(FinishReason.STOPPED, STATS)]
    assert ends[0].outcome == "stopped"


def test_a_user_s_own_stop_is_no_news_while_answers_may_still_end(traffic, ends):
    stop = StopFlag()
    watched = traffic.watch(answer(stop), stop)
    next(watched)
    traffic.refuse_new()
    stop.set()
    assert list(watched) == [Finished(FinishReason.STOPPED, STATS)]


def test_stopping_refuses_newcomers_lets_the_others_go_on_and_then_ends_them(traffic, ends):
    stop, late = StopFlag(), StopFlag()
    watched = traffic.watch(answer(stop), stop)
    next(watched)
    traffic.refuse_new()
    with pytest.raises(AppStopping, match="ask again"):
        next(traffic.watch(answer(late), late))
    assert next(watched) == TextDelta("1")
    traffic.end_all()
    with pytest.raises(AppStopping, match="the answer ends here"):
        next(watched)
    assert traffic.wait_until_idle(0)
    assert [end.outcome for end in ends] == ["AppStopping"]


def test_an_answer_that_ends_by_itself_meanwhile_is_whole(traffic, ends):
    stop = StopFlag()
    watched = traffic.watch(answer(stop), stop)
    next(watched)
    traffic.refuse_new()
    assert list(watched)[-1] == Finished(FinishReason.END_OF_TURN, STATS)


def test_waiting_for_the_last_answer_ends_with_it(traffic):
    stop, is_under_way, may_end = StopFlag(), threading.Event(), threading.Event()

    def user() -> None:
        for _ in traffic.watch(answer(stop), stop):
            is_under_way.set()
            may_end.wait(10)

    thread = threading.Thread(target=user)
    thread.start()
    assert is_under_way.wait(10)
    assert not traffic.wait_until_idle(0)
    may_end.set()
    assert traffic.wait_until_idle(10)
    thread.join(10)
