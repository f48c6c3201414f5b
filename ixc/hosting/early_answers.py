"""An error that is answered before the request's body has come reaches whoever is still sending it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True)
class LingerLimits:
    """How much of a body is read and thrown away after its answer."""

    max_bytes: int
    max_s: float = 5.0
    max_pause_s: float = 1.0
    """Nothing came for so long: the caller has read the answer, or never will."""


class EarlyAnswers:
    """ASGI middleware, before all that refuse requests. Such an answer is sent whole at once, and ends the connection.

    Yet not before the rest of the body has come, within ``limits``: who is still sending, as nginx is, would else find the
    connection broken, and not the answer. Nor is it kept for a next request, for which a body without an end would be read.
    """

    def __init__(self, app: ASGIApp, limits: LingerLimits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        await self._app(scope, exchange.receive, exchange.send)
        if exchange.awaits_end:
            await exchange.read_away(self._limits)
            await send({"type": "http.response.body", "body": b""})


class _Exchange:
    """A request with a body, and its answer."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._is_complete = self._is_early = False
        self.awaits_end = False
        """All has been sent but the end."""

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._is_early = message["status"] >= _FIRST_ERROR and not self._is_complete
            if self._is_early:
                message.setdefault("headers", [])
                MutableHeaders(scope=message)["Connection"] = "close"
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and self._is_early:
            await self._send({**message, "more_body": True})
            self.awaits_end = True
        else:
            await self._send(message)

    async def read_away(self, limits: LingerLimits) -> None:
        """The rest, kept nowhere."""
        num_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.max_s):
                while not self._is_complete and num_bytes < limits.max_bytes:
                    message = await asyncio.wait_for(self.receive(), limits.max_pause_s)
                    num_bytes += len(message.get("body", b""))


def _has_body(scope: Scope) -> bool:
    """Whether one was announced."""
    told = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
    return b"transfer-encoding" in told or told.get(b"content-length", b"0") != b"0"
