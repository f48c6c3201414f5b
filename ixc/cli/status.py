"""One line on a terminal that says what is going on and leaves no trace."""

from __future__ import annotations

from types import TracebackType
from typing import TextIO

_ERASE_LINE = "\r\x1b[K"


class StatusLine:
    """Overwrites itself on ``stream``; does nothing when ``is_shown`` is False. As a context it clears itself at the end."""

    def __init__(self, stream: TextIO, *, is_shown: bool) -> None:
        self._stream = stream
        self._is_shown = is_shown
        self._has_text = False

    def show(self, text: str) -> None:
        if self._is_shown:
            self._stream.write(f"{_ERASE_LINE}{text} ...")
            self._stream.flush()
            self._has_text = True

    def clear(self) -> None:
        if self._has_text:
            self._stream.write(_ERASE_LINE)
            self._stream.flush()
            self._has_text = False

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()
