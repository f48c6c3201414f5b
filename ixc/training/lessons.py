"""One lesson: a document (or none), a question, and the answer, as token ids around the place of the visual tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ixc.conversation import TURN_END, ImageView, build_prompt
from ixc.models.xcomposer2 import VisualSpans, XComposer2Processor
from ixc.training.fonts import FontFile
from ixc.training.layout import Document, lay_out_sign
from ixc.training.wording import (
    BLANK_ANSWER,
    GREETING_ANSWER,
    GREETINGS,
    OTHER_ANSWER,
    OTHER_QUESTIONS,
    QUESTIONS,
    Split,
)

NO_LABEL = -100
_ANY_VIEW = ImageView("document", 1)


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the lessons is not about reading a sign: empty images, questions beyond it, talk without an image."""

    blank: float = 0.03
    other: float = 0.05
    greeting: float = 0.02


@dataclass(frozen=True, slots=True)
class Lesson:
    """``document`` None: a conversation without an image."""

    document: Document | None
    question: str
    answer: str


def draw_lesson(rng: np.random.Generator, fonts: Sequence[FontFile], split: Split, shares: Shares) -> Lesson:
    """A random lesson; most ask to read a sign."""
    kind = rng.random()
    if kind < shares.greeting:
        return Lesson(None, _variant(rng, GREETINGS), GREETING_ANSWER)
    document = lay_out_sign(rng, fonts, split)
    kind -= shares.greeting
    if kind < shares.blank:
        return Lesson(document.without_text(), _variant(rng, QUESTIONS), BLANK_ANSWER)
    if kind < shares.blank + shares.other:
        return Lesson(document, _variant(rng, OTHER_QUESTIONS), OTHER_ANSWER)
    return Lesson(document, _variant(rng, QUESTIONS), document.text)


@dataclass(frozen=True, slots=True)
class LessonIds:
    """Token ids before the visual tokens, after them (the question), and of the answer with its end."""

    before: list[int]
    after: list[int]
    answer: list[int]

    @classmethod
    def of(cls, lesson: Lesson, processor: XComposer2Processor) -> LessonIds:
        view = None if lesson.document is None else _ANY_VIEW
        parts = build_prompt(processor.default_system, (), lesson.question, view).parts
        before, *after = (processor.encode_parts((part,), ()) for part in parts)
        answer = processor.tokenizer(lesson.answer + TURN_END)["input_ids"][1:]  # without BOS
        return cls(before, after[0] if after else [], answer)

    def num_tokens(self, num_visual: int) -> int:
        return len(self.before) + num_visual + len(self.after) + len(self.answer)


def collate(rows: Sequence[tuple[LessonIds, int]], processor: XComposer2Processor) -> dict[str, object]:
    """Lessons with their numbers of visual tokens -> ids and labels [B, S], padded on the right, and the visual spans.

    Loss falls on the answer only. No attention mask is needed: padding comes last and attention is causal.
    """
    length = max(ids.num_tokens(num_visual) for ids, num_visual in rows)
    input_ids = torch.full((len(rows), length), processor.tokenizer.pad_token_id)
    labels = torch.full((len(rows), length), NO_LABEL)
    spans = []
    for row, (ids, num_visual) in enumerate(rows):
        sequence = ids.before + [processor.image_token_id] * num_visual + ids.after + ids.answer
        input_ids[row, : len(sequence)] = torch.tensor(sequence)
        labels[row, len(sequence) - len(ids.answer) : len(sequence)] = torch.tensor(ids.answer)
        start = len(ids.before)
        spans.append(((start, start + num_visual),) if num_visual else ())
    return {"input_ids": input_ids, "labels": labels, "spans": VisualSpans(tuple(spans))}


def answer_metrics(logits_BSV: Tensor, labels_BS: Tensor) -> dict[str, float]:
    """Share of answer tokens, and of whole answers, that are predicted rightly when the right beginning is given."""
    labels = labels_BS[:, 1:]
    is_answer = labels != NO_LABEL
    right = (logits_BSV[:, :-1].argmax(-1) == labels) & is_answer
    whole = (right.sum(1) == is_answer.sum(1)).float().mean()
    return {"tokens_right": float(right.sum() / is_answer.sum()), "answers_right": float(whole)}


def _variant(rng: np.random.Generator, phrasings: Sequence[str]) -> str:
    """One of the phrasings, at times without its case or its closing mark, as people type."""
    text = phrasings[rng.integers(len(phrasings))]
    if rng.random() < 0.2:
        text = text.lower()
    if rng.random() < 0.2:
        text = text.rstrip("?.!")
    return text
