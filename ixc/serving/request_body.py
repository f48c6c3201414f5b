"""Reads a JSON body. Its size and time are limited before, for all requests alike."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request


class BodyRefused(Exception):
    """``status`` and a sentence."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


async def read_json(request: Request) -> Any:
    """The body's value. Raises BodyRefused, ClientDisconnect.

    Only ``application/json`` is read: a web page elsewhere cannot send that here without asking first. Which pages may send
    anything is for ``ixc.hosting.origins`` to say.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BodyRefused(415, "Send the body as application/json.", "unsupported_media_type")
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise BodyRefused(400, "The body is not valid JSON.", "invalid_json") from None
