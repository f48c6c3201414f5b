"""Token ids to text as they come, in whole characters."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class TextStream:
    """Joins the bytes of tokens; a character whose bytes are spread over several tokens appears with the last of them."""

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The characters that this token completes; often, but not always, one piece."""
        return self._decoder.decode(self._token_bytes(token_id))

    def finish(self) -> str:
        """What an incomplete character at the very end leaves: a replacement sign, or nothing."""
        return self._decoder.decode(b"", final=True)
