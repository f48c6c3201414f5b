"""What is kept between a session's questions, bounded by bytes, age and number of sessions."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ixc.settings import DEFAULT_CACHE_BYTES, CacheLimits

_EXPIRY_INTERVAL_S = 30.0


@dataclass(slots=True)
class _Entry:
    value: Any
    num_bytes: int
    last_used_s: float


class CacheStore:
    """Values by (session, key), least recently used first out. A session can reach its own values only.

    ``clock`` gives monotonic seconds. Thread-safe.
    """

    def __init__(self, limits: CacheLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._max_bytes = DEFAULT_CACHE_BYTES if limits.max_bytes is None else limits.max_bytes
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, session_id: str, key: str, value: object, num_bytes: int, *, spared_s: float = 0.0) -> bool:
        """Drop what was there and keep ``value``, unless it alone is too large; drops others until the limits hold.

        Where that would drop what was used within the last ``spared_s`` seconds, ``value`` is not kept.
        Returns whether it is.
        """
        with self._lock:
            self._entries.pop((session_id, key), None)
            spared = self._used_since(self._clock() - spared_s) if spared_s else []
            if num_bytes + sum(self._entries[place].num_bytes for place in spared) > self._max_bytes:
                return False
            if len({session for session, _ in spared} | {session_id}) > self._limits.max_sessions:
                return False
            self._entries[session_id, key] = _Entry(value, num_bytes, self._clock())
            self._enforce()
            return True

    def get(self, session_id: str, key: str) -> Any | None:
        """The value, marked as just used, or None."""
        with self._lock:
            self._enforce()
            entry = self._entries.get((session_id, key))
            if entry is None:
                return None
            entry.last_used_s = self._clock()
            self._entries.move_to_end((session_id, key))
            return entry.value

    def take(self, session_id: str, key: str) -> Any | None:
        """The value, removed from the store: its caller is going to change it."""
        with self._lock:
            self._enforce()
            entry = self._entries.pop((session_id, key), None)
            return entry.value if entry else None

    def forget(self, session_id: str) -> None:
        """Drop everything of a session."""
        with self._lock:
            for place in [place for place in self._entries if place[0] == session_id]:
                del self._entries[place]

    def free(self, num_bytes: float, *, except_session: str | None = None) -> int:
        """Drop what was used longest ago until ``num_bytes`` are free, but nothing of one session; the bytes dropped."""
        with self._lock:
            num_dropped = 0
            for place in [place for place in self._entries if place[0] != except_session]:
                if num_dropped >= num_bytes:
                    break
                num_dropped += self._entries.pop(place).num_bytes
            return num_dropped

    def bytes_of_others(self, session_id: str) -> int:
        """What ``free`` could drop without touching ``session_id``."""
        with self._lock:
            return sum(entry.num_bytes for place, entry in self._entries.items() if place[0] != session_id)

    def expire(self) -> None:
        """Drop what is too old; nobody may ask again."""
        with self._lock:
            self._enforce()

    def expire_until(self, closed: threading.Event) -> None:
        """``expire`` now and then, in the calling thread, until ``closed`` is set."""
        while not closed.wait(_EXPIRY_INTERVAL_S):
            self.expire()

    def report(self) -> dict[str, int]:
        """Numbers for people: sessions, entries and bytes held."""
        with self._lock:
            return {
                "sessions": len({session_id for session_id, _ in self._entries}),
                "entries": len(self._entries),
                "bytes": sum(entry.num_bytes for entry in self._entries.values()),
            }

    def _used_since(self, since_s: float) -> list[tuple[str, str]]:
        return [place for place, entry in self._entries.items() if entry.last_used_s >= since_s]

    def _enforce(self) -> None:
        oldest_s = self._clock() - self._limits.max_age_s
        for place in [place for place, entry in self._entries.items() if entry.last_used_s < oldest_s]:
            del self._entries[place]
        while sum(entry.num_bytes for entry in self._entries.values()) > self._max_bytes:
            self._entries.popitem(last=False)
        while len({session_id for session_id, _ in self._entries}) > self._limits.max_sessions:
            idlest = self._idlest_session()
            for place in [place for place in self._entries if place[0] == idlest]:
                del self._entries[place]

    def _idlest_session(self) -> str:
        """The one whose newest entry is the oldest: entries of an image that was changed lie about in busy ones too."""
        *_, idlest = dict.fromkeys(session_id for session_id, _ in reversed(self._entries))
        return idlest
