"""Carries events from the thread that answers to the event loop that writes them.

A coroutine can be cancelled where it waits, a thread cannot: so a caller who leaves is noticed at once, also while the question
waits in line or the model reads the image.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator

from ixc.chat.events import Event, Finished
from ixc.chat.request import StopFlag


class EventPump:
    """Runs an iterator of events in a thread of its own. ``stop`` ends it; leaving ``events`` sets it.

    The iterator sees the context of whoever starts it: on ZeroGPU ``spaces`` reads there whose share of the GPU it takes.
    """

    def __init__(self, make_events: Callable[[], Iterator[Event]], stop: StopFlag) -> None:
        self._make_events, self._stop = make_events, stop
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | Exception] = asyncio.Queue()
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name="ixc-api", daemon=True).start()

    async def events(self, pause_s: float | None = None) -> AsyncIterator[Event | None]:
        """In order, to Finished; None each time that nothing has come for ``pause_s``. Raises what the iterator raised."""
        try:
            while True:
                try:
                    async with asyncio.timeout(pause_s):
                        item = await self._queue.get()
                except TimeoutError:  # what came in that moment is still in the queue
                    yield None
                    continue
                if isinstance(item, Exception):
                    raise item
                yield item
                if isinstance(item, Finished):
                    return
        finally:
            self._stop.set()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        try:
            for event in self._make_events():
                self._put(event)
        except Exception as error:  # noqa: BLE001  raised again in the loop
            self._put(error)

    def _put(self, item: Event | Exception) -> None:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        except RuntimeError:  # the loop is closed: the server has ended
            self._stop.set()
