"""How much request bodies may take in memory together, so that many of them at once cannot fill it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class BodyRoom:
    """Bytes of the bodies that are being read or answered, of all callers and of each. For one event loop.

    ``caller`` is None for one whose share is not bounded, only what all have together.
    """

    max_bytes: int
    max_bytes_each: int
    _held: Counter[str | None] = field(default_factory=Counter)

    def take(self, caller: str | None, num_bytes: int) -> bool:
        """Whether so many more bytes fit in; if not, nothing is taken."""
        max_bytes_each = self.max_bytes if caller is None else self.max_bytes_each
        if self._held.total() + num_bytes > self.max_bytes or self._held[caller] + num_bytes > max_bytes_each:
            return False
        self._held[caller] += num_bytes
        return True

    def give_back(self, caller: str | None, num_bytes: int) -> None:
        self._held[caller] -= num_bytes
        if not self._held[caller]:
            del self._held[caller]
