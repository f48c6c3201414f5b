"""Whether the server behind an engine is there; once lost, it is looked for until it is back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


class BackendWatch:
    """Looks only while the server is away: one that answers needs no watching. Thread-safe."""

    def __init__(self, is_there: Callable[[], bool], look_every_s: float = _LOOK_EVERY_S) -> None:
        """``is_there`` asks the server; it may take a while, and must not raise."""
        self._is_there, self._look_every_s = is_there, look_every_s
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._is_away = False

    @property
    def is_away(self) -> bool:
        return self._is_away

    def lost(self) -> None:
        """An answer broke off, or could not begin. The first look is at once: perhaps only a connection was lost."""
        with self._lock:
            if self._is_away or self._closed.is_set():
                return
            self._is_away = True
        logger.warning("the backend was lost; looking for it")
        threading.Thread(target=self._look, name="ixc-backend-watch", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _look(self) -> None:
        while not self._is_there():
            if self._closed.wait(self._look_every_s):
                return
        with self._lock:
            self._is_away = False
        logger.info("the backend is back")
