"""A few threads that many callers share, so that what one of them sends keeps nobody else waiting."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from ixc.errors import EngineBusy

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Shares:
    """How much work may be under way and may wait, of all callers and of each."""

    num_threads: int
    threads_each: int
    waiting: int
    waiting_each: int
    max_wait_s: float = 30.0


class FairThreads:
    """Callers take turns; whoever has its share of the threads waits, while the next caller begins. For one event loop."""

    def __init__(self, shares: Shares, name: str) -> None:
        self._shares = shares
        self._threads = ThreadPoolExecutor(shares.num_threads, name)
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """In the order in which callers are served next; nobody is in here without a place."""

    async def run(self, caller: str, work: Callable[..., Result], *arguments: Any) -> Result:
        """``work`` in a thread, once it is the caller's turn. Raises EngineBusy when too much waits, or for too long."""
        await self._turn(caller)
        loop = asyncio.get_running_loop()

        def leave(_: Future[Result]) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._leave, caller)

        try:
            future = self._threads.submit(work, *arguments)
        except BaseException:
            self._leave(caller)
            raise
        future.add_done_callback(leave)  # not once the caller has gone: the thread works on
        return await asyncio.wrap_future(future)

    async def _turn(self, caller: str) -> None:
        if self._has_room(caller) and caller not in self._waiting:
            self._running[caller] += 1
            return
        shares, places = self._shares, self._waiting.get(caller, ())
        if len(places) >= shares.waiting_each or sum(map(len, self._waiting.values())) >= shares.waiting:
            raise EngineBusy("Too many images are being opened; try again in a minute.")
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(place)
        try:
            await asyncio.wait_for(asyncio.shield(place), shares.max_wait_s)
        except BaseException as error:
            if place.done():
                self._leave(caller)  # it came at the same moment
            else:
                self._give_up(caller, place)
            if isinstance(error, TimeoutError):
                raise EngineBusy("The image waited too long to be opened; try again in a minute.") from None
            raise

    def _has_room(self, caller: str) -> bool:
        return self._running.total() < self._shares.num_threads and self._running[caller] < self._shares.threads_each

    def _leave(self, caller: str) -> None:
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        while (following := next(filter(self._has_room, self._waiting), None)) is not None:
            places = self._waiting.pop(following)
            self._running[following] += 1
            places.popleft().set_result(None)
            if places:
                self._waiting[following] = places  # behind the others

    def _give_up(self, caller: str, place: asyncio.Future[None]) -> None:
        places = self._waiting[caller]
        places.remove(place)
        if not places:
            del self._waiting[caller]
