"""From a question to its events: wait in line, wait for the model, answer. The page and the API both go through here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

from ixc.application.services import Services
from ixc.application.waiting import Ticket
from ixc.chat.events import AnswerStats, Event, Finished, FinishReason, PrefillProgress
from ixc.chat.interface import ChatEngine
from ixc.chat.request import ChatRequest, StopFlag

_LOOK_EVERY_S = 0.2
"""How often a waiting question looks whether it was stopped."""


def answer_events(
    services: Services,
    ticket: Ticket,
    stop: StopFlag,
    build_request: Callable[[ChatEngine], ChatRequest],
    as_shown: Callable[[Iterator[Event]], Iterator[Event]] = iter,
) -> Iterator[Event]:
    """The engine's events, after PrefillProgress of stage "line" (``num_total`` ahead) and "loading" (percent done).

    What the statistics say of waiting begins when ``ticket`` was taken.

    ``build_request`` is called with the model that will answer, once it is this question's turn: if one was chosen meanwhile,
    another than when the question came. ``as_shown`` makes of the events what the caller gets, before the answer is counted.
    Raises IxcError, also what ``build_request`` raises; CheckpointError when no model
    could be loaded.
    """
    return services.traffic.watch(as_shown(_events(services, ticket, stop, build_request)), stop)


def _events(
    services: Services, ticket: Ticket, stop: StopFlag, build_request: Callable[[ChatEngine], ChatRequest]
) -> Iterator[Event]:
    shown: Event | None = None
    while not stop.is_set:
        progress = _what_to_wait_for(services, ticket)
        if progress is None:
            break
        if progress != shown:
            yield progress
            shown = progress
    if stop.is_set:
        yield Finished(FinishReason.STOPPED, AnswerStats(None, 0, 0, 0, None, 0, waited_ms=ticket.elapsed_ms))
        return
    with services.provider.borrowed() as engine:
        waited_ms = ticket.elapsed_ms
        with closing(engine.answer(build_request(engine), stop)) as events:
            for event in events:
                yield _after_waiting(event, waited_ms)


def _after_waiting(event: Event, waited_ms: float) -> Event:
    """``event`` with the time before the engine was asked besides what it waited there."""
    if not isinstance(event, Finished):
        return event
    return replace(event, stats=replace(event.stats, waited_ms=waited_ms + event.stats.waited_ms))


def _what_to_wait_for(services: Services, ticket: Ticket) -> PrefillProgress | None:
    """Wait a moment; None when there is nothing left to wait for."""
    if num_ahead := ticket.wait(_LOOK_EVERY_S):
        return PrefillProgress("line", 0, num_ahead)
    if not services.provider.wait(_LOOK_EVERY_S):
        fraction = services.provider.status.fraction
        return PrefillProgress("loading", round(100 * (fraction or 0)), 100)
    return None
