"""What libraries in C keep: freed memory, which glibc returns only from a heap's end, and code that oneDNN has made."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable

_MAX_KERNELS = 256
"""A model of this project needs about eight for a prompt's length, and some for its vision tower."""
_KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""oneDNN's own, and that of PyTorch's layer above it."""


def bound_kernel_caches() -> None:
    """Before the first product by oneDNN; what the environment says already holds.

    oneDNN makes code for every shape: half a megabyte for each, four for each new length of a prompt. By default it and
    PyTorch keep 1,024 each, which took half a gigabyte.
    """
    for name in _KERNEL_CACHES:
        os.environ.setdefault(name, str(_MAX_KERNELS))


def trim_heap() -> None:
    """Return the free pages of every thread's heap: milliseconds. Does nothing where there is no glibc."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class HeapTrimmer:
    """Trims after something large was freed, at most once in ``interval_s``. Thread-safe.

    Long-lived caches lie between what passes come and go with, and so does the code that oneDNN makes for every new length of a
    prompt: without it a busy server keeps the largest extent that its heaps ever had. ``clock`` gives monotonic seconds.
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
