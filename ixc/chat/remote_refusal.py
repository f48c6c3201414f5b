"""Why a server did not answer a question, as an error of ours with the server's own reason."""

from __future__ import annotations

from typing import Any

import httpx2

from ixc.errors import BackendFailed, BackendRefused, ConversationTooLong, EngineBusy, IxcError

ASKS_FOR_KEY = "The server asks for a key; set IXC_BACKEND_KEY."
_CALLERS_FAULT = (400, 404, 413, 415, 422)
"""Asked the same again, the server would refuse again."""
_MAX_REASON_CHARS = 200
"""Of a body that is no JSON: a server's own page may be long."""
_HTML = ("<!doctype", "<html")


def refusal_of(response: httpx2.Response) -> IxcError:
    """The server's refusal as an error of ours. The body is read here."""
    response.read()
    reason, code = _reason(response)
    message = reason or f"status {response.status_code}"
    if response.status_code == 429:
        return EngineBusy(message)
    if code == "context_length_exceeded" or "maximum context length" in message:
        return ConversationTooLong(message)
    if response.status_code in (401, 403):
        return BackendFailed(ASKS_FOR_KEY)
    sentence = message if message.endswith(".") else f"The server refused the question: {message}."
    return BackendRefused(sentence) if response.status_code in _CALLERS_FAULT else BackendFailed(sentence)


def _reason(response: httpx2.Response) -> tuple[str, object]:
    """What the server says, and its code for it; "" where it says nothing that people read.

    OpenAI's servers have ``error`` with a message and a code, others a text there, in ``detail`` (FastAPI: or a list) or in
    ``message``.
    """
    try:
        told = response.json()
    except ValueError:
        text = " ".join(response.text.split())
        return ("" if text.lower().startswith(_HTML) else text[:_MAX_REASON_CHARS]), None
    if not isinstance(told, dict):
        return "", None
    error = told.get("error")
    if isinstance(error, dict):
        return _text(error.get("message")), error.get("code")
    found = (_text(error), _text(told.get("detail")), _text(told.get("message")))
    return next(filter(None, found), ""), told.get("code")


def _text(told: Any) -> str:
    """A text as it is; FastAPI's list of what is wrong, each with its place in the body, as one."""
    if isinstance(told, list):
        return "; ".join(filter(None, map(_text, told)))
    if isinstance(told, dict):
        place = told.get("loc")
        where = ".".join(map(str, place)) if isinstance(place, list) else ""
        return ": ".join(filter(None, (where, _text(told.get("msg")))))
    return told.strip() if isinstance(told, str) else ""
