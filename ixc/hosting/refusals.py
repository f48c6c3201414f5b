"""Requests that were refused, counted for those who run the server: also those that never came as far as the line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FIRST_ERROR = 400


@dataclass(slots=True)
class Refusals:
    """Since the start. For one event loop."""

    by_status: Counter[int] = field(default_factory=Counter)
    """Requests answered with an error."""
    num_wrong_guesses: int = 0
    """Keys and passwords that nobody has."""

    def note_wrong_guess(self) -> None:
        self.num_wrong_guesses += 1


class CountRefusals:
    """ASGI middleware, before every other."""

    def __init__(self, app: ASGIApp, refusals: Refusals) -> None:
        self._app, self._refusals = app, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= _FIRST_ERROR:
                self._refusals.by_status[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, send_and_count if scope["type"] == "http" else send)
