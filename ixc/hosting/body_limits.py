"""No request's body may be larger or slower than its address allows, nor all together too large for the memory.

So nobody fills the memory or holds connections.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ixc.application.kept_bodies import KEEP_BODY
from ixc.hosting.body_room import BodyRoom
from ixc.hosting.early_answers import LingerLimits
from ixc.hosting.route_path import route_path
from ixc.serving.callers import is_known, network_of
from ixc.settings import MEGABYTE, ImageLimits

_UPLOAD = "/gradio_api/upload"
_PART_SIGNS = (b"[", b"{", b",")
_WITH_IMAGES = ("/v1/", "/mcp")
_BASE64 = 4 / 3
_RETRY_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class BodyRules:
    """How large and how slow a body may be."""

    max_upload_bytes: int
    """For one file. A form that carries it is a little longer."""
    max_text_bytes: int = 8 * MEGABYTE
    """For everything but images, in a body that may carry them."""
    max_page_bytes: int = MEGABYTE
    """For every other: a page sends its whole conversation with each question, of which a model with 128,000 tokens of context
    reads about 600 KB. Gradio's queue holds a few hundred such bodies."""
    max_page_parts: int = 50_000
    """As ``max_parts``: a comma for every twenty letters."""
    max_pause_s: float = 20.0
    free_s: float = 30.0
    """From then on a body must have come at ``min_bytes_per_s`` on average."""
    min_bytes_per_s: float = 16 * 1024
    small_bytes: int = MEGABYTE // 4
    """So much of a body is not counted: questions without a large picture always get through."""
    max_wait_to_send_s: float = 120.0
    """For a caller to take some of its answer, once the buffers between are full. Until it is over, its body is held."""
    max_parts: int = 200_000
    """Brackets and commas, of which a text that a model can read has fewer, and a picture in base64 none.

    Parsed, each may take 60 times its byte, and nobody else is served meanwhile.
    """
    num_largest_held: int = 8
    """So many of the largest bodies with images may be in memory at once, and half of them from one network.

    Who has a key may take all of them: a page elsewhere, which has this server as its backend, asks for all its users.
    """

    @classmethod
    def of(cls, images: ImageLimits) -> BodyRules:
        return cls(images.max_bytes)

    def max_bytes(self, path: str) -> int:
        if path.startswith(_UPLOAD):
            return self.max_upload_bytes + MEGABYTE
        if path.startswith(_WITH_IMAGES):
            return self.max_image_bytes
        return self.max_page_bytes

    def max_parts_of(self, path: str) -> int:
        return self.max_parts if path.startswith(_WITH_IMAGES) else self.max_page_parts

    @property
    def max_image_bytes(self) -> int:
        """Of a body that carries its pictures."""
        return int(self.max_upload_bytes * _BASE64) + self.max_text_bytes

    @property
    def linger(self) -> LingerLimits:
        """Twice the largest body that is allowed anywhere: a server in front lets no more through."""
        return LingerLimits(2 * self.max_image_bytes)

    def room(self) -> BodyRoom:
        """An empty one."""
        max_bytes = self.num_largest_held * self.max_image_bytes
        return BodyRoom(max_bytes, max_bytes // 2)


class BodyLimits:
    """ASGI middleware. A body against ``rules`` is answered with 413, 408 or 503, and the app behind sees it break off.

    A caller who never reads its answer is given up. Keys are checked before it.
    """

    def __init__(self, app: ASGIApp, rules: BodyRules) -> None:
        self._app, self._rules, self._room = app, rules, rules.room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive, self._rules, self._room)
        answer = _Answer(body, send, self._rules)
        scope[KEEP_BODY] = body.keep
        body.check_announced(scope)
        try:
            if body.refusal is None:
                await self._app(scope, body.receive, answer.send_unless_refused)
        except Exception:
            if body.refusal is None and not answer.is_given_up:
                raise
        finally:
            body.leave()
        if body.refusal is not None and not answer.has_begun:
            await body.refusal(scope, receive, answer.send)


class _Answer:
    """To one request with ``body``."""

    def __init__(self, body: _Body, send: Send, rules: BodyRules) -> None:
        self._body, self._send, self._rules = body, send, rules
        self.has_begun = self.is_given_up = False

    async def send_unless_refused(self, message: Message) -> None:
        if self._body.refusal is None or self.has_begun:
            await self.send(message)

    async def send(self, message: Message) -> None:
        """Raises TimeoutError when the caller takes nothing."""
        self.has_begun = True
        try:
            async with asyncio.timeout(0 if self.is_given_up else self._rules.max_wait_to_send_s):
                await self._send(message)
        except TimeoutError:
            self.is_given_up = True
            raise


class _Body:
    """One request's body on its way to the app. ``refusal`` is the answer once it broke a rule."""

    def __init__(self, scope: Scope, receive: Receive, rules: BodyRules, room: BodyRoom) -> None:
        path = route_path(scope)
        self._receive, self._rules, self._max_bytes = receive, rules, rules.max_bytes(path)
        self._max_parts = rules.max_parts_of(path)
        self._room = None if path.startswith(_UPLOAD) else room  # uploads go to the disk
        self._caller = None if is_known(scope) else network_of(scope)
        self._num_held = 0
        self._started_s = time.monotonic()
        self._num_bytes = self._num_parts = 0
        self._is_complete = False
        self.refusal: JSONResponse | None = None

    def check_announced(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._max_bytes:
                self._refuse_large()

    async def receive(self) -> Message:
        """The next piece; a disconnect in place of one that breaks a rule."""
        if self._is_complete:  # what comes now is only the news that the caller has gone
            return await self._receive()
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        rules = self._rules
        allowed_s = rules.free_s + self._num_bytes / rules.min_bytes_per_s
        remaining_s = self._started_s + allowed_s - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(rules.max_pause_s, remaining_s)))
        except TimeoutError:
            self.refusal = _refusal(408, "The request came too slowly; send it again over a faster connection.")
            return {"type": "http.disconnect"}
        piece = message.get("body", b"")
        self._num_bytes += len(piece)
        self._num_parts += sum(map(piece.count, _PART_SIGNS)) if self._room is not None else 0
        self._is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        if self._num_bytes > self._max_bytes:
            self._refuse_large()
        elif self._num_parts > self._max_parts:
            self.refusal = _refusal(413, "The request's JSON has too many parts; send fewer messages or less text.")
        elif not self._fits():
            text = "Too many large requests are here at once; try again in a minute."
            self.refusal = _refusal(503, text, {"Retry-After": str(_RETRY_AFTER_S)})
        return message if self.refusal is None else {"type": "http.disconnect"}

    def leave(self) -> None:
        """The request is over, and what was kept of it gone, unless ``keep`` was called."""
        if self._room is not None and self._num_held:
            self._room.give_back(self._caller, self._num_held)
            self._num_held = 0

    def keep(self) -> Callable[[], None]:
        """What was read stays in memory when the request is over, until what this returns is called, in whatever thread."""
        room, caller, num_held, loop = self._room, self._caller, self._num_held, asyncio.get_running_loop()
        self._num_held = 0

        def give_back() -> None:
            if room is not None and num_held:
                with suppress(RuntimeError):  # the loop is closed: the server has ended
                    loop.call_soon_threadsafe(room.give_back, caller, num_held)

        return give_back

    def _fits(self) -> bool:
        num_more = self._num_bytes - self._rules.small_bytes - self._num_held
        if self._room is None or num_more <= 0:
            return True
        if not self._room.take(self._caller, num_more):
            return False
        self._num_held += num_more
        return True

    def _refuse_large(self) -> None:
        limit = f"{self._max_bytes / MEGABYTE:.0f} MB"
        self.refusal = _refusal(413, f"The request has more than {limit}; send a smaller image or less text.")


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """In the shape of OpenAI's API and in that of Gradio's."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error, "detail": message}, status, {"Connection": "close", **(headers or {})})
