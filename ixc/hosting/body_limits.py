"""No request's body may be larger or slower than its address allows, so that nobody fills the memory or holds connections."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ixc.settings import MEGABYTE, ImageLimits

_UPLOAD = "/gradio_api/upload"
_WITH_IMAGES = ("/v1/", "/mcp")
_BASE64 = 4 / 3


@dataclass(frozen=True, slots=True)
class BodyRules:
    """How large and how slow a body may be."""

    max_upload_bytes: int
    """For one file. A form that carries it is a little longer."""
    max_text_bytes: int = 8 * MEGABYTE
    """For everything but images: a page sends its whole conversation with each question."""
    max_pause_s: float = 20.0
    free_s: float = 30.0
    """From then on a body must have come at ``min_bytes_per_s`` on average."""
    min_bytes_per_s: float = 16 * 1024

    @classmethod
    def of(cls, images: ImageLimits) -> BodyRules:
        return cls(images.max_bytes)

    def max_bytes(self, path: str) -> int:
        if path.startswith(_UPLOAD):
            return self.max_upload_bytes + MEGABYTE
        if path.startswith(_WITH_IMAGES):
            return int(self.max_upload_bytes * _BASE64) + self.max_text_bytes
        return self.max_text_bytes


class BodyLimits:
    """ASGI middleware. A body against ``rules`` is answered with 413 or 408, and the app behind sees it break off."""

    def __init__(self, app: ASGIApp, rules: BodyRules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._rules, self._rules.max_bytes(scope["path"]))
        has_begun = False

        async def send_unless_refused(message: Message) -> None:
            nonlocal has_begun
            if body.refusal is None or has_begun:
                has_begun = True
                await send(message)

        body.check_announced(scope)
        try:
            if body.refusal is None:
                await self._app(scope, body.receive, send_unless_refused)
        except Exception:
            if body.refusal is None:
                raise
        if body.refusal is not None and not has_begun:
            await body.refusal(scope, receive, send)


class _Body:
    """One request's body on its way to the app. ``refusal`` is the answer once it broke a rule."""

    def __init__(self, receive: Receive, rules: BodyRules, max_bytes: int) -> None:
        self._receive, self._rules, self._max_bytes = receive, rules, max_bytes
        self._started_s = time.monotonic()
        self._num_bytes = 0
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
        self._num_bytes += len(message.get("body", b""))
        self._is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        if self._num_bytes > self._max_bytes:
            self._refuse_large()
            return {"type": "http.disconnect"}
        return message

    def _refuse_large(self) -> None:
        limit = f"{self._max_bytes / MEGABYTE:.0f} MB"
        self.refusal = _refusal(413, f"The request has more than {limit}; send a smaller image or less text.")


def _refusal(status: int, message: str) -> JSONResponse:
    """In the shape of OpenAI's API and in that of Gradio's."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error, "detail": message}, status, {"Connection": "close"})
