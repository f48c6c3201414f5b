"""Connections that ask for nothing: bounded in time and in number, so that no silent caller keeps the others out.

uvicorn would keep a connection whose request line and headers never end for ever, and a process has only so many files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn.config
from uvicorn.protocols.http.h11_impl import H11Protocol

from ixc.application.waiting import network_of_address

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None

_MANY_FILES = 65_536
"""More than the server ever has open; some systems allow a process billions, and refuse them when asked for."""


def bound_connections() -> None:
    """For every server that is started in this process from now on, also by Gradio, which offers no choice of its own."""
    allow_many_files()
    uvicorn.config.HTTP_PROTOCOLS["auto"] = BoundedConnection


def allow_many_files() -> None:
    """Raise the limit of open files to what the system lets this process have. Each connection is one."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def num_files() -> int:
    """How many files this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource is not None else _MANY_FILES
    return _MANY_FILES if resource is None or soft == resource.RLIM_INFINITY else soft


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """For connections on which the headers of a request are still to come."""

    headers_within_s: float = 20.0
    silent_after_s: float = 2.0
    """Only then does one count: of many that come at once, as through a server in front, each is heard first."""
    max_each: int = 64
    """Of one network. Beyond it the one that has waited longest goes: a browser sends its request at once."""
    share_of_files: float = 1 / 4
    """All together may have so many of the files that the process may open."""


class SilentConnections:
    """Those that have been waiting for headers, oldest first. For one event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._max_all = max(1, int(num_files() * limits.share_of_files))
        self._waiting: dict[asyncio.Transport, str] = {}
        """Networks by connection."""
        self._num_each: Counter[str] = Counter()

    def add(self, transport: asyncio.Transport, network: str) -> None:
        """Note it; closes the oldest of the network, or of all, where there are too many."""
        self._waiting[transport] = network
        self._num_each[network] += 1
        if self._num_each[network] > self._limits.max_each:
            self.close(next(other for other, whose in self._waiting.items() if whose == network))
        elif len(self._waiting) > self._max_all:
            self.close(next(iter(self._waiting)))

    def discard(self, transport: asyncio.Transport) -> None:
        network = self._waiting.pop(transport, None)
        if network is not None:
            self._num_each[network] -= 1
            if not self._num_each[network]:
                del self._num_each[network]

    def close(self, transport: asyncio.Transport) -> None:
        self.discard(transport)
        transport.close()


class BoundedConnection(H11Protocol):
    """uvicorn's protocol, with ``limits``. Between two requests uvicorn's own, shorter limit holds until the first byte."""

    limits = ConnectionLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # One for all connections of a server, whose shared state has no place of its own for it.
        state = self.server_state
        if not hasattr(state, "ixc_silent"):
            state.ixc_silent = SilentConnections(self.limits)
        self._silent: SilentConnections = state.ixc_silent
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._have_headers()
        elif self._deadline is None and not self.transport.is_closing():
            self._expect_headers()

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(self.limits.silent_after_s / 2, self._listen_on)

    def _listen_on(self) -> None:
        """A loop that was held up has heard nobody meanwhile: what has come is read before the next look."""
        self._deadline = self.loop.call_later(self.limits.silent_after_s / 2, self._note_silence)

    def _note_silence(self) -> None:
        remaining_s = self.limits.headers_within_s - self.limits.silent_after_s
        self._deadline = self.loop.call_later(remaining_s, self._silent.close, self.transport)
        self._silent.add(self.transport, network_of_address(self.client[0] if self.client else ""))

    def _have_headers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._silent.discard(self.transport)
