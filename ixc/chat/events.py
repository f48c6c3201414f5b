"""What an answer is made of: the typed events that ``Engine.answer`` yields, in this order.

PrefillProgress*, TextDelta*, then exactly one Finished. Errors are raised as ``ixc.errors.IxcError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why an answer ended."""

    END_OF_TURN = "end_of_turn"
    LENGTH = "length"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """Work before the first token. ``stage`` is "waiting", "vision" or "prefill"; the counts are views or tokens."""

    stage: str
    num_done: int
    num_total: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Whole characters to append to the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerStats:
    """Measured figures of one answer."""

    time_to_first_token_ms: float | None
    """From the model being free for this request to its first token; None when stopped before it."""
    num_prompt_tokens: int
    num_cached_tokens: int
    """Prompt tokens taken from the prefix cache."""
    num_new_tokens: int
    decode_tokens_per_s: float | None
    """None for fewer than two tokens and for beam search, whose tokens all come at its end."""
    num_visual_tokens: int
    waited_ms: float = 0.0
    """Until the model was free: for other answers, and in the app also in its line and for a model that was loading."""
    num_drafted_tokens: int = 0
    """Tokens guessed by prompt look-up, and how many of them the model agreed with."""
    num_accepted_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer."""

    reason: FinishReason
    stats: AnswerStats


Event = PrefillProgress | TextDelta | Finished
