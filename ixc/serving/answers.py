"""From a checked request to its text and its end, over the same line and model as the page's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ixc.chat.events import Event, Finished, FinishReason, TextDelta
from ixc.chat.request import ChatRequest, StopFlag
from ixc.serving.openai_request import ChatCompletion
from ixc.serving.stop_strings import StopStrings
from ixc.ui.answering import answer_events
from ixc.ui.services import Services

if TYPE_CHECKING:
    from ixc.chat.interface import ChatEngine


def completion_events(services: Services, asked: ChatCompletion, session_id: str, stop: StopFlag) -> Iterator[Event]:
    """The answer's events, ended before a stop string. Raises IxcError; EngineBusy when the line is full."""

    def build_request(engine: ChatEngine) -> ChatRequest:
        return ChatRequest(
            session_id=session_id,
            question=asked.question,
            view=asked.views[0] if asked.views else None,
            turns=asked.turns,
            images=asked.images,
            system=engine.default_system if asked.system is None else asked.system,
            generation=asked.generation(engine.default_generation),
            more_views=asked.views[1:],
        )

    stops = StopStrings(asked.stop)
    try:
        with services.line.enter() as ticket:
            for event in answer_events(services, ticket, stop, build_request):
                if isinstance(event, TextDelta):
                    if text := stops.push(event.text):
                        yield TextDelta(text)
                    if stops.was_met:
                        stop.set()
                elif isinstance(event, Finished):
                    if text := stops.finish():
                        yield TextDelta(text)
                    yield replace(event, reason=FinishReason.END_OF_TURN) if stops.was_met else event
                else:
                    yield event
    finally:
        stop.set()


def session_of(asked: ChatCompletion, caller: str) -> str:
    """One id for all turns of a caller's conversation, told from how it began.

    The API keeps no sessions, yet the next turn finds the keys and values of the one before. ``caller`` keeps conversations
    of different people apart that begin alike.
    """
    first = asked.turns[0] if asked.turns else None
    question, views = (first.question, first.views) if first else (asked.question, asked.views)
    beginning = (caller, asked.model, asked.system, question, [view.image_id for view in views])
    return "v1-" + hashlib.sha256(repr(beginning).encode()).hexdigest()
