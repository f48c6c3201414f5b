"""Reads a JSON body within limits on its size and its time, so that neither a large nor a slow sender holds the server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

_PAUSE_S = 15.0
"""Between two pieces of a body."""
_WHOLE_S = 120.0


class BodyRefused(Exception):
    """``status`` and a sentence."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


async def read_json(request: Request, max_bytes: int, *, pause_s: float = _PAUSE_S, whole_s: float = _WHOLE_S) -> Any:
    """The body's value. Raises BodyRefused, ClientDisconnect.

    Only ``application/json`` is read: a web page elsewhere cannot send that here without asking first.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BodyRefused(415, "Send the body as application/json.", "unsupported_media_type")
    try:
        announced = int(request.headers.get("content-length", "0"))
    except ValueError:
        raise BodyRefused(400, "The header content-length is not a number.", "invalid_header") from None
    if announced > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(whole_s):
            data = await _read(request, max_bytes, pause_s)
    except TimeoutError:
        raise BodyRefused(408, "The body came too slowly; send it again.", "request_timeout") from None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BodyRefused(400, "The body is not valid JSON.", "invalid_json") from None


async def _read(request: Request, max_bytes: int, pause_s: float) -> bytes:
    data = bytearray()
    while True:
        message = await asyncio.wait_for(request.receive(), pause_s)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        data += message.get("body", b"")
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body"):
            return bytes(data)


def _too_large(max_bytes: int) -> BodyRefused:
    return BodyRefused(413, f"The body has more than {max_bytes // 1024**2} MB; send smaller images.", "body_too_large")
