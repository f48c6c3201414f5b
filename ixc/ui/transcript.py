"""A conversation as the page holds it: frozen values, replaced and never changed, kept per user in Gradio's state."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ixc.application.messages import UNEXPECTED, Message
from ixc.application.strings import load_strings
from ixc.chat.events import AnswerStats, FinishReason
from ixc.conversation import ImageView, Turn
from ixc.single_view import ImagePlan
from ixc.ui.plan_view import plan_words

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class AskedView:
    """The image and plan that a question was asked about."""

    image_id: str
    plan: ImagePlan

    @property
    def image_view(self) -> ImageView:
        return ImageView(self.image_id, self.plan.max_patches)

    def page_value(self) -> dict[str, Any]:
        return {"image": self.image_id[:16], **plan_words(self.plan)}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and what came of it: an answer, part of one, or an error."""

    question: str
    view: AskedView | None = None
    answer: str = ""
    stats: AnswerStats | None = None
    reason: FinishReason | None = None
    error: Message | None = None
    model: str = ""
    """The name of the model that answered."""

    def page_value(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "question": self.question,
            "view": self.view.page_value() if self.view else None,
            "answer": self.answer,
            "stats": stats_page_value(self.stats) if self.stats else None,
            "reason": str(self.reason) if self.reason else None,
            "error": self.error.page_value() if self.error else None,
        }


@dataclass(frozen=True, slots=True)
class Conversation:
    """The exchanges so far, oldest first."""

    exchanges: tuple[Exchange, ...] = ()

    def plus(self, exchange: Exchange) -> Conversation:
        return Conversation((*self.exchanges, exchange))

    def upto(self, num_exchanges: int) -> Conversation:
        return Conversation(self.exchanges[:num_exchanges])

    def turns(self, held_image_ids: Collection[str]) -> tuple[Turn, ...]:
        """What the model is told of the past. Exchanges without an answer are left out, and so is an image that is gone."""
        return tuple(
            Turn(e.question, e.answer, e.view.image_view if e.view and e.view.image_id in held_image_ids else None)
            for e in self.exchanges
            if e.answer
        )


def restored(kept: list[Any]) -> Conversation:
    """The words of a conversation that the page kept. Anybody may have sent it: what is no exchange is left out."""
    return Conversation(tuple(exchange for exchange in map(_restored_exchange, kept) if exchange is not None))


def _restored_exchange(kept: Any) -> Exchange | None:
    texts = [kept.get(name) for name in ("question", "answer", "model")] if isinstance(kept, dict) else []
    if not texts or not all(isinstance(text, str) for text in texts) or not texts[0].strip():
        return None
    question, answer, model = texts
    return Exchange(question, answer=answer, model=model, error=_restored_error(kept.get("error")))


def _restored_error(kept: Any) -> Message | None:
    if not isinstance(kept, dict):
        return None
    code, detail = kept.get("code"), kept.get("detail")
    is_known = isinstance(code, str) and f"error.{code}" in load_strings()["en"]
    return Message(code, detail if isinstance(detail, str) else "") if is_known else Message(UNEXPECTED)


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """The answer being written. ``stage`` names what is going on before the first token; "" once text flows."""

    question: str
    view: AskedView | None
    text: str = ""
    stage: str = "start"
    num_done: int = 0
    num_total: int = 0
    model: str = ""

    def page_value(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "question": self.question,
            "view": self.view.page_value() if self.view else None,
            "text": self.text,
            "stage": self.stage,
            "done": self.num_done,
            "total": self.num_total,
        }


def transcript_page_value(
    conversation: Conversation | None, live: LiveAnswer | None = None, error: Message | None = None, draft: str = ""
) -> dict[str, Any]:
    """The whole transcript, and a question for the field if nothing is typed there. Gradio sends only what changed.

    Each has a ``number`` of its own: Gradio delivers the last one again when it closes the stream, which may be after the next
    question was sent, and by the number the page knows that this is nothing new.
    """
    return {
        "number": next(_numbers),
        "exchanges": [exchange.page_value() for exchange in (conversation or Conversation()).exchanges],
        "live": live.page_value() if live else None,
        "error": error.page_value() if error else None,
        "draft": draft,
    }


def stats_page_value(stats: AnswerStats) -> dict[str, Any]:
    return {
        "ttftMs": None if stats.time_to_first_token_ms is None else round(stats.time_to_first_token_ms, 1),
        "promptTokens": stats.num_prompt_tokens,
        "cachedTokens": stats.num_cached_tokens,
        "newTokens": stats.num_new_tokens,
        "tokensPerS": None if stats.decode_tokens_per_s is None else round(stats.decode_tokens_per_s, 1),
        "visualTokens": stats.num_visual_tokens,
        "waitedMs": round(stats.waited_ms, 1),
    }
