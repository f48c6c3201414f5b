"""A conversation as the page holds it: frozen values, replaced and never changed, kept per user in Gradio's state."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any

from ixc.application.messages import UNEXPECTED, Message
from ixc.application.strings import load_strings
from ixc.chat.events import AnswerStats, FinishReason
from ixc.conversation import ImageView, Turn
from ixc.errors import SettingsError
from ixc.settings import GenerationSettings
from ixc.single_view import ImagePlan
from ixc.ui.plan_view import page_key, plan_words

_numbers = itertools.count(time.time_ns() // 1_000_000)
"""They rise across restarts too: a page that outlives its server goes by them."""


@dataclass(frozen=True, slots=True)
class AskedView:
    """The image and plan that a question was asked about."""

    image_id: str
    plan: ImagePlan

    @property
    def image_view(self) -> ImageView:
        return ImageView(self.image_id, self.plan.max_patches)

    def page_value(self) -> dict[str, Any]:
        """``width`` and ``height`` are the original image's."""
        size_px = self.plan.original_px
        own = {"image": page_key(self.image_id), "width": size_px.width, "height": size_px.height}
        return {**own, **plan_words(self.plan)}


@dataclass(frozen=True, slots=True)
class AskedWith:
    """The settings of a question's own moment; the page's may have changed since."""

    generation: GenerationSettings
    system: str = ""
    budget: int | None = None
    """Max patches; None for a question without an image."""

    def page_value(self) -> dict[str, Any]:
        """The seed in words: it may have more digits than a number in a browser."""
        seed = None if self.generation.seed is None else str(self.generation.seed)
        return {**asdict(self.generation), "seed": seed, "system": self.system, "budget": self.budget}


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
    used: AskedWith | None = None
    """None where a page kept the conversation of an older version."""
    lacks_image: bool = False
    """Answered without an image of an earlier question, which was no longer held."""
    num_left_out: int = 0
    """Earlier questions that the model was not told of, because it looks at one image at a time."""
    kept_image: str = ""
    """What the page calls the image, of a question that it kept while it was loaded again: all that is known of ``view``."""

    @property
    def image_key(self) -> str:
        """What the page calls the image; "" for a question without one."""
        return page_key(self.view.image_id) if self.view else self.kept_image

    def image_view(self, held_image_ids: Collection[str]) -> ImageView | None:
        """The view to tell the model of; a kept image is found again once the same file is held."""
        if self.view is not None:
            return self.view.image_view
        if not self.kept_image:
            return None
        found = (image_id for image_id in held_image_ids if page_key(image_id) == self.kept_image)
        return ImageView(next(found, self.kept_image), (self.used and self.used.budget) or 1)

    def page_value(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "used": self.used.page_value() if self.used else None,
            "lacksImage": self.lacks_image,
            "leftOut": self.num_left_out,
            "image": self.image_key,
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
        """The past as a model may be told of it, with images that are gone too. Exchanges without an answer are left out."""
        return tuple(Turn(e.question, e.answer, e.image_view(held_image_ids)) for e in self.exchanges if e.answer)


def restored(kept: list[Any]) -> Conversation:
    """The words of a conversation that the page kept. Anybody may have sent it: what is no exchange is left out."""
    return Conversation(tuple(exchange for exchange in map(_restored_exchange, kept) if exchange is not None))


def _restored_exchange(kept: Any) -> Exchange | None:
    texts = [kept.get(name) for name in ("question", "answer", "model")] if isinstance(kept, dict) else []
    if not texts or not all(isinstance(text, str) for text in texts) or not texts[0].strip():
        return None
    question, answer, model = texts
    image, num_left_out = kept.get("image"), kept.get("leftOut")
    return Exchange(
        question,
        None,
        answer,
        error=_restored_error(kept.get("error")),
        model=model,
        used=_restored_settings(kept.get("used")),
        lacks_image=kept.get("lacksImage") is True,
        num_left_out=num_left_out if type(num_left_out) is int and num_left_out > 0 else 0,
        kept_image=page_key(image) if isinstance(image, str) else "",
    )


def _restored_settings(kept: Any) -> AskedWith | None:
    if not isinstance(kept, dict):
        return None
    values = {f.name: kept.get(f.name) for f in fields(GenerationSettings)}
    system, budget, seed = kept.get("system"), kept.get("budget"), values["seed"]
    is_plain = isinstance(system, str) and isinstance(values["do_sample"], bool) and type(budget) in (int, type(None))
    if not is_plain or not (seed is None or isinstance(seed, str)):
        return None
    try:
        return AskedWith(GenerationSettings(**{**values, "seed": seed and int(seed)}), system, budget)
    except (SettingsError, ValueError):  # out of range, or no number
        return None


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
    used: AskedWith | None = None
    num_left_out: int = 0

    def page_value(self) -> dict[str, Any]:
        view = self.view.page_value() if self.view else None
        return {
            "model": self.model,
            "used": self.used.page_value() if self.used else None,
            "leftOut": self.num_left_out,
            "image": view["image"] if view else "",
            "question": self.question,
            "view": view,
            "text": self.text,
            "stage": self.stage,
            "done": self.num_done,
            "total": self.num_total,
        }


def transcript_page_value(
    conversation: Conversation | None, live: LiveAnswer | None = None, error: Message | None = None, draft: str = ""
) -> dict[str, Any]:
    """The whole transcript, and a question for the field if nothing is typed there. Gradio sends only what changed.

    Each has a ``number`` of its own, larger than those before: Gradio delivers the last one again when it closes the stream,
    which may be after the next question was sent, and of two requests the second may be answered first. By the number the page
    knows what is nothing new.
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
