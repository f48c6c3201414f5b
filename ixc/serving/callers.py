"""Who asks, as far as it can be told."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.requests import Request

from ixc.application.waiting import network_of_address

_USER = "ixc.user"


def note_user(scope: MutableMapping[str, Any], user: str) -> None:
    """Whose password or key was checked. A header that nobody checks could be another one each time."""
    scope[_USER] = user


def is_known(scope: Mapping[str, Any]) -> bool:
    """Whether a password or key was checked."""
    return _USER in scope


def address_of(scope: Mapping[str, Any]) -> str:
    """The address a request comes from; "" where there is none."""
    return (scope.get("client") or ("",))[0]


def network_of(scope: Mapping[str, Any]) -> str:
    """The address a request comes from; of IPv6 the network that is one customer's."""
    return network_of_address(address_of(scope))


def session_caller(request: Request | None) -> str:
    """Keeps equal beginnings of different callers' conversations apart."""
    return "" if request is None else f"{request.headers.get('authorization', '')} {address_of(request.scope)}"


def share_caller(request: Request | None) -> str:
    """Who shares what is scarce: one network, or one of its users where passwords are asked for."""
    return "" if request is None else f"{request.scope.get(_USER, '')} {network_of(request.scope)}"


def line_caller(request: Request | None) -> str | None:
    """Who shares the places in the line. None: one with a key, which may be a page elsewhere that asks for all its users."""
    return None if request is None or is_known(request.scope) else network_of(request.scope)
