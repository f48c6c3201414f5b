"""Giving freed memory of the C heap back to the system, which glibc does only from a heap's end."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable


def trim_heap() -> None:
    """Return the free pages of every thread's heap: milliseconds. Does nothing where there is no glibc."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class HeapTrimmer:
    """Trims after something large was freed, at most once in ``interval_s``. Thread-safe.

    Long-lived caches lie between what passes come and go with, so that without it a busy server keeps the largest extent that
    its heaps ever had. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self, interval_s: float = 15.0, trim: Callable[[], None] = trim_heap, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval_s, self._trim, self._clock = interval_s, trim, clock
        self._next_s = clock()
        self._lock = threading.Lock()

    def after_freeing(self) -> None:
        """Trim, unless it was done just now."""
        with self._lock:
            if self._clock() < self._next_s:
                return
            self._next_s = self._clock() + self._interval_s
        self._trim()
