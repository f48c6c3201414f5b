"""The beginning of a session's prompts whose keys and values are kept from one question to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ixc.chat.kv_cache import ANSWER_ROOM, InPlaceCache
from ixc.chat.prompt import EncodedPrompt, Segment, common_prefix_length, cut_segments, with_generated

_MAX_SPARE = 0.25
"""Of a kept cache, unused for each position in use: copying it smaller would hold up the answer's end and the next turn."""


@dataclass(slots=True)
class Prefix:
    """A cache, and what it holds."""

    segments: tuple[Segment, ...]
    cache: InPlaceCache

    def cut_to(self, prompt: EncodedPrompt, length: int) -> None:
        """Keep what is shared with the first ``length`` tokens of ``prompt``, with room for all of it and an answer."""
        self.cache.truncate(common_prefix_length(self.segments, cut_segments(prompt.segments, length)))
        if self.cache.capacity < len(prompt):  # growing by itself it would be copied with every chunk
            self.cache.reserve(len(prompt) + ANSWER_ROOM)

    def settle(self, prompt: EncodedPrompt, generated_ids: Sequence[int]) -> None:
        """Describe what the cache holds after an answer to ``prompt``, and give back the room that is not needed."""
        self.segments = cut_segments(with_generated(prompt.segments, generated_ids), self.cache.length)
        self.cache.truncate(sum(map(len, self.segments)))
        if self.cache.length:
            self.cache.shrink_to_fit(_MAX_SPARE)
