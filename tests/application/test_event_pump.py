"""Events from a thread, with the context of whoever asked."""

from contextvars import ContextVar

import pytest

from ixc.application.event_pump import EventPump
from ixc.chat.events import AnswerStats, Finished, FinishReason, TextDelta
from ixc.chat.request import StopFlag
from tests.event_loops import run_apart

VISITOR: ContextVar[str] = ContextVar("visitor", default="nobody")
END = Finished(FinishReason.STOPPED, AnswerStats(None, 0, 0, 0, None, 0))


async def told(make_events) -> list:
    return [event async for event in EventPump(make_events, StopFlag()).events()]


def test_what_answers_sees_who_asked():
    """``spaces`` reads there, in the thread that answers, whose share of a ZeroGPU it takes."""

    def events():
        yield TextDelta(VISITOR.get())
        yield END

    async def ask(name: str) -> str:
        VISITOR.set(name)
        return (await told(events))[0].text

    assert run_apart(ask("alice")) == "alice"
    assert VISITOR.get() == "nobody"


def test_what_the_thread_raises_is_raised_where_it_is_awaited():
    def events():
        yield TextDelta("a")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_apart(told(events))
