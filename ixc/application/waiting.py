"""The line before the model: bounded, first come first served, and everybody in it can see their place."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable

from ixc.errors import EngineBusy

_SHARE = 4 / 5
"""Of the waiting places, for one caller: 16 of the usual 20. So many a page elsewhere sends at a time that has this server as
its backend; the next may come just before the last one's place is free."""
_NETWORK_6_BITS = 64
"""What one machine has of IPv6: it may send each question from another address in there."""


class WaitingLine:
    """``num_served`` may be served at a time and ``max_waiting`` may wait. ``clock`` gives monotonic seconds. Thread-safe."""

    def __init__(self, max_waiting: int, num_served: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_waiting, self._num_served, self._clock = max_waiting, num_served, clock
        self._changed = threading.Condition()
        self._tickets: list[Ticket] = []
        self._num_refused = 0

    def enter(self, caller: str | None = None) -> Ticket:
        """Take a place at the end. Raises EngineBusy when every waiting place is taken, or ``caller`` has its share of them.

        ``caller`` is the network that the question comes from; None: one whose share is not bounded.
        """
        with self._changed:
            if len(self._tickets) >= self.num_places:
                self._num_refused += 1
                raise EngineBusy(f"All {self._max_waiting} waiting places are taken; try again in a minute.")
            most = max(1, int(self._max_waiting * _SHARE))
            num_own = sum(ticket.caller == caller for ticket in self._tickets)
            if caller is not None and num_own >= most + self._num_served:
                self._num_refused += 1
                raise EngineBusy(
                    f"{num_own} of your questions, or of your network, are under way already; try again when one is answered."
                )
            ticket = Ticket(self, caller, self._clock)
            self._tickets.append(ticket)
            return ticket

    @property
    def num_places(self) -> int:
        """For those waiting and those being served."""
        return self._max_waiting + self._num_served

    @property
    def num_inside(self) -> int:
        """Those waiting and the one being served."""
        with self._changed:
            return len(self._tickets)

    @property
    def num_refused(self) -> int:
        """Questions that found every place taken, since the start."""
        return self._num_refused

    def _num_ahead(self, ticket: Ticket) -> int:
        return max(0, self._tickets.index(ticket) - self._num_served + 1)

    def _leave(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket in self._tickets:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def _wait(self, ticket: Ticket, timeout_s: float) -> int:
        with self._changed:
            before = self._num_ahead(ticket)
            if before:
                self._changed.wait_for(lambda: self._num_ahead(ticket) != before, timeout_s)
            return self._num_ahead(ticket)


class Ticket:
    """A place in the line; leave it in a ``finally``, or use it as a context manager."""

    def __init__(self, line: WaitingLine, caller: str | None, clock: Callable[[], float]) -> None:
        self._line, self.caller, self._clock = line, caller, clock
        self._entered_s = clock()

    @property
    def elapsed_ms(self) -> float:
        """Since the place was taken."""
        return (self._clock() - self._entered_s) * 1000

    def wait(self, timeout_s: float) -> int:
        """Wait until the place changes, at most ``timeout_s``; how many are ahead then (0: it is this one's turn)."""
        return self._line._wait(self, timeout_s)

    def leave(self) -> None:
        self._line._leave(self)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def page_caller(user: str | None, address: str) -> str | None:
    """Who shares the places of the line when a page asks, or a call of Gradio's. None: a ``user`` who gave a password."""
    return None if user is not None else network_of_address(address)


def network_of_address(address: str) -> str:
    """The address itself; of IPv6 the network that is one customer's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped is not None:
        return address
    return str(ipaddress.ip_network((parsed.packed, _NETWORK_6_BITS), strict=False))
