"""Who asks, as far as it can be told."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.requests import Request

_USER = "ixc.user"
_NETWORK_6_BITS = 64
"""What one machine has of IPv6: it may send each request from another address in there."""


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
    host = address_of(scope)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4 or address.ipv4_mapped is not None:
        return host
    return str(ipaddress.ip_network((address.packed, _NETWORK_6_BITS), strict=False))


def session_caller(request: Request | None) -> str:
    """Keeps equal beginnings of different callers' conversations apart."""
    return "" if request is None else f"{request.headers.get('authorization', '')} {address_of(request.scope)}"


def share_caller(request: Request | None) -> str:
    """Who shares what is scarce: one network, or one of its users where passwords are asked for."""
    return "" if request is None else f"{request.scope.get(_USER, '')} {network_of(request.scope)}"


def line_caller(request: Request | None) -> str | None:
    """Who shares the places in the line. None: one with a key, which may be a page elsewhere that asks for all its users."""
    return None if request is None or is_known(request.scope) else network_of(request.scope)
