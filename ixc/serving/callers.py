"""Who asks, as far as it can be told."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.requests import Request

_USER = "ixc.user"


def note_user(scope: MutableMapping[str, Any], user: str) -> None:
    """Whose password or key was checked. A header that nobody checks could be another one each time."""
    scope[_USER] = user


def session_caller(request: Request) -> str:
    """Keeps equal beginnings of different callers' conversations apart."""
    return f"{request.headers.get('authorization', '')} {_host(request)}"


def share_caller(request: Request | None) -> str:
    """Who shares what is scarce: one address, or one of its users where passwords are asked for."""
    return "" if request is None else f"{request.scope.get(_USER, '')} {_host(request)}"


def _host(request: Request) -> str:
    return request.client.host if request.client else ""
