"""Ends an answer before any of the caller's stop strings, also when one comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Feed it an answer's text as it comes; it holds back what might be the beginning of a stop string."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = [string for string in strings if string]
        self._held = ""
        self.was_met = False
        """A stop string came: nothing after it counts."""

    def push(self, text: str) -> str:
        """What can be shown now."""
        if self.was_met:
            return ""
        self._held += text
        ends = [at for string in self._strings if (at := self._held.find(string)) >= 0]
        if ends:
            self.was_met = True
            shown, self._held = self._held[: min(ends)], ""
            return shown
        kept = max((self._beginning_at_end(string) for string in self._strings), default=0)
        split = len(self._held) - kept
        shown, self._held = self._held[:split], self._held[split:]
        return shown

    def finish(self) -> str:
        """What was held back and turned out to be nothing."""
        shown, self._held = self._held, ""
        return shown

    def _beginning_at_end(self, string: str) -> int:
        """How many letters at the end of what is held could be the beginning of ``string``."""
        longest = min(len(string) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(string[:n])), 0)
