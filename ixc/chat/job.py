"""One request on its way through the engine's worker."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field

from ixc.chat.events import AnswerStats, Event
from ixc.chat.prompt import EncodedPrompt, common_prefix_length
from ixc.chat.prompt_lookup import PromptLookup
from ixc.chat.request import ChatRequest, StopFlag


@dataclass(slots=True, eq=False)
class Job:
    """Equal only to itself."""

    request: ChatRequest
    prompt: EncodedPrompt
    stop: StopFlag
    queued_s: float
    """When it came; this and other times are those of ``time.perf_counter``."""
    only_reads: bool = False
    """Nobody has asked yet: ``prompt`` is what the next one begins with."""
    events: queue.SimpleQueue[Event | BaseException] = field(default_factory=queue.SimpleQueue)
    is_forgotten: bool = False
    """The session ended meanwhile: keep nothing."""
    is_kept: bool = False
    """What it has read is there for the session's next question."""
    generated_ids: list[int] = field(default_factory=list)
    lookup: PromptLookup | None = None

    def goes_on_from(self, reading: Job) -> bool:
        """Whether this question is still wanted, and begins with what is being read for its session."""
        if self.stop.is_set or self.request.session_id != reading.request.session_id:
            return False
        return common_prefix_length(reading.prompt.segments, self.prompt.segments) == len(reading.prompt)

    def stats(self, num_cached: int, started_s: float, first_token_s: float | None, ended_s: float) -> AnswerStats:
        """What it took; ``num_cached`` tokens of the prompt were there already."""
        num_new = len(self.generated_ids)
        is_streamed = first_token_s is not None and self.request.generation.num_beams == 1
        decode_s = ended_s - first_token_s if is_streamed else 0.0
        return AnswerStats(
            time_to_first_token_ms=(first_token_s - started_s) * 1000 if first_token_s is not None else None,
            num_prompt_tokens=len(self.prompt),
            num_cached_tokens=num_cached,
            num_new_tokens=num_new,
            decode_tokens_per_s=(num_new - 1) / decode_s if num_new > 1 and decode_s > 0 else None,
            num_visual_tokens=self.prompt.num_visual_tokens,
            waited_ms=(started_s - self.queued_s) * 1000,
            num_drafted_tokens=self.lookup.num_drafted if self.lookup else 0,
            num_accepted_tokens=self.lookup.num_accepted if self.lookup else 0,
        )
