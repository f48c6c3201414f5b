"""One lesson: a document (or none) cut to a budget, and a conversation about it, as token ids around the visual tokens.

Several questions share one document: its visual tokens, by far the most of a lesson, are then computed once for all of them,
and follow-up questions are learned on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ixc.conversation import TURN_END, ImageView, build_prompt, render_chat
from ixc.models.xcomposer2 import VisualSpans, XComposer2Processor
from ixc.tiling import TilePlan, plan_tiles
from ixc.training.bindings import Binding, bindings_of, bound_tokens, naming_tokens, ways_to
from ixc.training.conversations import Exchange, Paper, budget_for, converse, draw_paper
from ixc.training.fixed_answers import FIXED_ANSWERS, letter_weights
from ixc.training.fonts import FontFile
from ixc.training.kinds import KIND_SHARES
from ixc.training.layout import Document
from ixc.training.pointers import NOWHERE, Places, answer_glyphs
from ixc.training.sheets import pad_to_aspect
from ixc.training.tile_sense import UNKNOWN, only_with_text
from ixc.training.value_sense import NO_VALUE
from ixc.training.wording import GREETING_ANSWER, GREETINGS, Split

NO_LABEL = -100
MAX_TURNS = 8
MAX_DRAWS = 200
"""Documents that are drawn in search of those that fit into a batch; afterwards it stays smaller."""
GREETING_SHARE = 0.01
_ANY_VIEW = ImageView("document", 1)
ENLARGED_SHARE, MOST_ENLARGED = 0.4, 3.2
"""Share of the sheets that lie on more background than they need, and how many times as wide it gets at most. At 2.2 none of
122 lessons at 9 tiles had a text too small for them, and nothing taught the model to ask for more."""
MOST_PADDED = 1.7
JUMP_WEIGHT, FOUND_WEIGHT = 3.0, 8.0
"""Weight of what decides where to read: an answer's first character, those that stand elsewhere than the one before, and what
follows a text that is over; and of what is found by way of something else, which most often goes wrong and is rare."""
ENOUGH_SHARE = 0.65
"""Share of lessons at a budget that is surely enough; at the others many a text is too small."""
FIXED_SHARE = 0.15
"""Share of questions with fixed answers that are kept where looking up is to be learned."""
MOST_SPACIOUS = 4
"""Times as many patches as its text needs that a short lesson gets at most: larger text is read in the global view."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """``document`` and ``plan`` None: a conversation without an image."""

    document: Document | None
    plan: TilePlan | None
    exchanges: tuple[Exchange, ...]
    bindings: tuple[Binding, ...] = ()


def draw_lesson(
    rng: np.random.Generator,
    fonts: Sequence[FontFile],
    budgets: Sequence[int],
    *,
    only_lookups: bool = False,
    kinds: Mapping[str, float] = KIND_SHARES,
    max_turns: int = MAX_TURNS,
) -> Lesson:
    """A lesson at one of ``budgets``, mostly one at which the whole document can be read.

    ``only_lookups``: always at one of these, mostly without what is answered with a fixed sentence, and on no more background
    than needed.
    """
    if not only_lookups and rng.random() < GREETING_SHARE:
        return _greeting(rng)
    while True:
        paper = draw_training_paper(rng, fonts, 0.0 if only_lookups else ENLARGED_SHARE, kinds)
        size_px = paper.document.size_px
        needed = budget_for(size_px, paper.smallest_px, sorted(budgets))
        enough = [budget for budget in budgets if budget >= needed]
        if only_lookups:
            enough = [budget for budget in enough if budget <= MOST_SPACIOUS * needed] or [needed]
        budget = int(rng.choice(enough if only_lookups or rng.random() < ENOUGH_SHARE else budgets))
        plan = plan_tiles(size_px, budget)
        exchanges = converse(rng, paper, plan, max_turns)
        if only_lookups:
            exchanges = [each for each in exchanges if each.task not in FIXED_ANSWERS or rng.random() < FIXED_SHARE]
        if exchanges:
            return Lesson(paper.document, plan, tuple(exchanges), bindings_of(paper))


def draw_alike(
    rng: np.random.Generator,
    fonts: Sequence[FontFile],
    first: Lesson,
    max_lessons: int,
    kinds: Mapping[str, float] = KIND_SHARES,
    max_turns: int = MAX_TURNS,
) -> list[Lesson]:
    """``first`` and up to ``max_lessons - 1`` more lessons whose documents are cut into the same grid at its budget."""
    lessons = [first]
    for _ in range(MAX_DRAWS):
        if len(lessons) >= max_lessons:
            break
        paper = draw_training_paper(rng, fonts, kinds=kinds)
        if plan_tiles(paper.document.size_px, first.plan.max_patches).grid != first.plan.grid:
            paper = _as_wide_as(rng, paper, first.document)
        plan = plan_tiles(paper.document.size_px, first.plan.max_patches)
        if plan.grid == first.plan.grid and (exchanges := converse(rng, paper, plan, max_turns)):
            lessons.append(Lesson(paper.document, plan, tuple(exchanges), bindings_of(paper)))
    return lessons


def _greeting(rng: np.random.Generator) -> Lesson:
    question = GREETINGS[rng.integers(len(GREETINGS))]
    return Lesson(None, None, (Exchange("greeting", question, GREETING_ANSWER),))


def draw_training_paper(
    rng: np.random.Generator,
    fonts: Sequence[FontFile],
    enlarged_share: float = ENLARGED_SHARE,
    kinds: Mapping[str, float] = KIND_SHARES,
) -> Paper:
    """A document of one of ``kinds``, some on more background than they need."""
    kind = str(rng.choice(list(kinds), p=list(kinds.values())))
    paper = draw_paper(rng, fonts, Split.TRAINING, kind)
    if kind in ("sign", "photograph") or rng.random() >= enlarged_share:
        return paper
    return replace(paper, document=enlarge(rng, paper.document, float(rng.uniform(1, MOST_ENLARGED))))


def enlarge(rng: np.random.Generator, document: Document, factor: float) -> Document:
    """The document on a sheet ``factor`` times as wide and as high."""
    height, width = document.size_px.height, document.size_px.width
    wide = pad_to_aspect(rng, document, height / (width * factor))
    return pad_to_aspect(rng, wide, height / width)


def _as_wide_as(rng: np.random.Generator, paper: Paper, other: Document) -> Paper:
    """The paper with the other document's aspect ratio, where that does not take too much background."""
    aspect = other.size_px.height / other.size_px.width
    ratio = aspect * paper.document.size_px.width / paper.document.size_px.height
    if not 1 / MOST_PADDED < ratio < MOST_PADDED:
        return paper
    return replace(paper, document=pad_to_aspect(rng, paper.document, aspect))


@dataclass(frozen=True, slots=True)
class LessonIds:
    """Token ids before the visual tokens and after them; for the latter the labels, and the document's characters they say.

    ``ways``: which of the lesson's bindings lead there (``bindings.ways_to``), none where empty. ``given_weights``: of the
    labels that do not count as much as others do, else 0; none where empty.
    """

    before: list[int]
    after: list[int]
    labels: list[int]
    glyphs: list[int]
    ways: Sequence[int] = ()
    given_weights: Sequence[float] = ()

    @classmethod
    def of(cls, lesson: Lesson, processor: XComposer2Processor) -> LessonIds:
        """Loss falls on the answers and their ends only."""
        view = None if lesson.document is None else _ANY_VIEW
        parts = build_prompt(processor.default_system, (), lesson.exchanges[0].question, view).parts
        before, *opening = (processor.encode_parts((part,), ()) for part in parts)
        after = list(opening[0]) if opening else []
        labels, glyphs, ways, weights = ([fill] * len(after) for fill in (NO_LABEL, NOWHERE, NOWHERE, 0.0))
        for index, exchange in enumerate(lesson.exchanges):
            if index:
                question = _encode("\n" + render_chat("", (), exchange.question), processor)
                after += question
                labels += [NO_LABEL] * len(question)
                glyphs += [NOWHERE] * len(question)
                ways += [NOWHERE] * len(question)
                weights += [0.0] * len(question)
            answer = _encode(exchange.answer + TURN_END, processor)
            after += answer
            labels += answer
            sources = _sources(lesson, exchange, len(answer))
            glyphs += sources
            ways += ways_to(lesson.bindings, exchange.task, sources)
            weights += letter_weights(exchange.answer) if exchange.task in FIXED_ANSWERS else [0.0] * len(answer)
        return cls(before, after, labels, glyphs, ways, weights)

    def num_tokens(self, num_visual: int) -> int:
        return len(self.before) + num_visual + len(self.after)

    def weights(self) -> np.ndarray:
        """How much each label counts: float32, as many as labels."""
        labels, glyphs = np.array(self.labels), np.array(self.glyphs)
        is_first = (labels != NO_LABEL) & (np.append(NO_LABEL, labels[:-1]) == NO_LABEL)
        before = np.append(NOWHERE, glyphs[:-1])
        is_jump = (glyphs != NOWHERE) & ((before == NOWHERE) | (before != glyphs - 1))
        is_over = (labels != NO_LABEL) & (glyphs == NOWHERE) & (before != NOWHERE)
        weights = np.where(is_first | is_jump | is_over, JUMP_WEIGHT, 1.0).astype(np.float32)
        if self.ways:
            weights[np.array(self.ways) != NOWHERE] = FOUND_WEIGHT
        given = np.array(self.given_weights or [0.0] * len(labels), np.float32)
        return np.where(given > 0, given, weights)


def _sources(lesson: Lesson, exchange: Exchange, num_tokens: int) -> list[int]:
    """For every token of an answer the document's character it is read from; one token is one character, and the turn's end.

    A colour's first letter is read from the shape, which the document counts after its characters.
    """
    if lesson.document is None or exchange.task in FIXED_ANSWERS or num_tokens != len(exchange.answer) + 1:
        return [NOWHERE] * num_tokens
    if exchange.marks:
        return [len(lesson.document.characters()) + exchange.marks[0]] + [NOWHERE] * (num_tokens - 1)
    return [*answer_glyphs(exchange.answer, lesson.document, exchange.lines), NOWHERE]


@dataclass(frozen=True, slots=True)
class Row:
    """One lesson in a batch: its ids, how many visual tokens it has, and where its document's characters stand in them."""

    ids: LessonIds
    num_visual: int = 0
    places: Places | None = None
    tiles: np.ndarray | None = None
    """Where each visual token stands, as ``tile_sense.tiles_of_tokens`` tells it, where that is taught: int64 [N, 3]."""
    bindings: tuple[Binding, ...] = ()


def _encode(text: str, processor: XComposer2Processor) -> list[int]:
    return processor.tokenizer(text)["input_ids"][1:]  # without BOS


def collate(rows: Sequence[Row], processor: XComposer2Processor) -> dict[str, object]:
    """Ids, labels and their weights [B, S], padded on the right; the visual spans; and for every label the position in the

    sequence that shows what it says, ``pointed_tokens``, with the slot there, ``pointed_heads``: [B, S], else NOWHERE. Also for
    every visual token with text where it stands, ``tiles_at`` [B, S, 3], else UNKNOWN; the position of the token that one
    belongs to, ``bound_tokens`` [B, S], which like the pointed ones stands one later, and of what names that which an answer
    goes on to, ``naming_tokens`` [B, S], else NOWHERE; and the value told at a token, ``values_at`` [B, S].
    No attention mask is needed: padding comes last and attention is causal.
    """
    length = max(row.ids.num_tokens(row.num_visual) for row in rows)
    input_ids = torch.full((len(rows), length), processor.tokenizer.pad_token_id)
    labels, pointed_tokens, pointed_heads = (torch.full((len(rows), length), fill) for fill in (NO_LABEL, NOWHERE, NOWHERE))
    weights = torch.zeros(len(rows), length)
    tiles_at = torch.full((len(rows), length, 3), UNKNOWN)
    bound, named = torch.full((len(rows), length), NOWHERE), torch.full((len(rows), length), NOWHERE)
    values_at = torch.full((len(rows), length), NO_VALUE)
    spans = []
    for index, row in enumerate(rows):
        ids, start = row.ids, len(row.ids.before)
        sequence = ids.before + [processor.image_token_id] * row.num_visual + ids.after
        input_ids[index, : len(sequence)] = torch.tensor(sequence)
        after = slice(len(sequence) - len(ids.labels), len(sequence))
        labels[index, after] = torch.tensor(ids.labels)
        weights[index, after] = torch.from_numpy(ids.weights())
        spans.append(((start, start + row.num_visual),) if row.num_visual else ())
        if row.places is not None:
            places = row.places.of(ids.glyphs)
            if row.tiles is not None:
                tiles = only_with_text(row.tiles, row.places.tokens)
                tiles_at[index, start : start + row.num_visual] = torch.from_numpy(tiles)
            pointed_tokens[index, after] = torch.from_numpy(np.where(places.tokens >= 0, start + places.tokens, NOWHERE))
            pointed_heads[index, after] = torch.from_numpy(places.slots)
            for later, earlier, value in bound_tokens(row.bindings, row.places):
                bound[index, start + later + 1] = start + earlier
                values_at[index, start + later] = value
            naming = naming_tokens(row.bindings, row.places, ids.glyphs, ids.ways or [NOWHERE] * len(ids.glyphs))
            named[index, after] = torch.from_numpy(np.where(naming >= 0, start + naming, NOWHERE))
    return {
        "input_ids": input_ids,
        "labels": labels,
        "weights": weights,
        "spans": VisualSpans(tuple(spans)),
        "pointed_tokens": pointed_tokens,
        "pointed_heads": pointed_heads,
        "tiles_at": tiles_at,
        "bound_tokens": bound,
        "naming_tokens": named,
        "values_at": values_at,
    }
