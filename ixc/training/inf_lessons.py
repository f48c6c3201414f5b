"""Lessons for INF-LLaVA: what can be read in its padded square, where it stands among the 576 tokens, and the token ids.

A token stands for 42 px of the 1008-pixel square. As in ixc-nano, text is legible with at most two characters to a token, and
never below ``LEGIBLE_PX`` in the pixels that are loaded: 21 px at an input of 1008 pixels, 14 px at one of 336.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ixc.conversation import LLAMA3_CHAT, ImageView
from ixc.dual_perspective import SQUARE_PX, TOKENS_PER_SIDE, VIEW_PX, DualPerspectivePlan
from ixc.models.inf_llava import InfLlavaProcessor
from ixc.tiling import SizePx
from ixc.training.asking import TOO_SMALL, TOO_SMALL_AT_336
from ixc.training.cells import CELL_PX, HUGE_PX, LEGIBLE_PX, Glyphs, cell_slots, cell_targets
from ixc.training.codebook import Codebook
from ixc.training.conversations import DOUBTFUL_PX, Asked, Exchange, Paper, converse
from ixc.training.fixed_answers import FIXED_ANSWERS
from ixc.training.fonts import FontFile
from ixc.training.kinds import KIND_SHARES
from ixc.training.lessons import (
    ENOUGH_SHARE,
    GREETING_SHARE,
    MAX_TURNS,
    NO_LABEL,
    Lesson,
    LessonIds,
    draw_training_paper,
)
from ixc.training.pointers import NOWHERE, Places, answer_glyphs
from ixc.training.wording import GREETING_ANSWER, GREETINGS

MAP_PX = round(TOKENS_PER_SIDE * CELL_PX)
"""Side of the map of all tokens in ixc-nano's cells of 28 px."""
_ANY_VIEW = ImageView("document", 9)


class TokenCodebook(Codebook):
    """ixc-nano's codes on 24x24 tokens, with places as in its tiles: the language model reads them as they are."""

    def __init__(self, num_slots: int, width: int) -> None:
        super().__init__(num_slots, width)
        times = TOKENS_PER_SIDE // self.places_TTD.shape[0]
        self.places_TTD = self.places_TTD.tile(times, times, 1)


def reading_scale(size_px: SizePx, input_px: int) -> float:
    """Pixels that count for legibility per pixel of a document of this size; text of ``LEGIBLE_PX`` of them can be read."""
    return min(input_px, MAP_PX) / max(size_px.height, size_px.width)


def token_glyphs(glyphs: Glyphs, plan: DualPerspectivePlan) -> Glyphs:
    """Glyphs in the image's pixels -> boxes in the map of tokens, sizes in the pixels that count for legibility.

    A character is too large for a token only where it is too large in the view of the whole square.
    """
    pad, side = plan.padding_original_px, plan.square_original_px
    placed = glyphs.placed(1, 1, pad.left, pad.top).placed(MAP_PX / side, MAP_PX / side)
    sizes = glyphs.sizes * reading_scale(plan.original_px, plan.input_px)
    is_huge = glyphs.sizes.min(1, initial=np.inf, keepdims=True) * VIEW_PX / side > HUGE_PX
    return Glyphs(placed.classes, placed.boxes, np.where(is_huge, np.inf, np.minimum(sizes, HUGE_PX)).astype(np.float32))


def token_targets(glyphs: Glyphs, plan: DualPerspectivePlan, num_slots: int) -> np.ndarray:
    """What stands in each token's part of the square: int64 [24, 24, num_slots]. ``glyphs`` are in the image's pixels."""
    return cell_targets(token_glyphs(glyphs, plan), num_slots, TOKENS_PER_SIDE, TOKENS_PER_SIDE)


def token_places(glyphs: Glyphs, plan: DualPerspectivePlan, num_slots: int) -> Places:
    """The token and the slot that show each character. ``glyphs`` are in the image's pixels."""
    return Places(*cell_slots(token_glyphs(glyphs, plan), num_slots, TOKENS_PER_SIDE, TOKENS_PER_SIDE))


def smallest_asked_px(paper: Paper, asked: Asked) -> float:
    """Size of the smallest text it takes to answer, in the document's pixels; infinite where it takes none."""
    texts = [paper.document.lines[line] for line in asked.lines]
    return min((float(line.sizes_px()[0].min()) for line in texts if line.text), default=np.inf)


def as_seen(rng: np.random.Generator, paper: Paper, plan: DualPerspectivePlan) -> Paper:
    """The paper with what can be said of it at this input: one question, if any, is answered with "too small".

    Nothing is asked about text of doubtful size.
    """
    readable, refused = [], []
    for asked in paper.asked:
        smallest_px = smallest_asked_px(paper, asked)
        size_px = smallest_px * reading_scale(plan.original_px, plan.input_px)
        if size_px >= LEGIBLE_PX:
            readable.append(asked)
        elif size_px < DOUBTFUL_PX:
            answer = refusal(paper.document.size_px, smallest_px, plan.input_px)
            refused.append(Asked(replace(asked.question, task="too small", answer=answer), ()))
    if refused:
        readable.append(refused[rng.integers(len(refused))])
    return replace(paper, asked=tuple(readable))


def refusal(size_px: SizePx, smallest_px: float, input_px: int) -> str:
    """What is said of text that is too small; where the larger input would do, it is named."""
    would_do = smallest_px * reading_scale(size_px, SQUARE_PX) >= LEGIBLE_PX
    return TOO_SMALL_AT_336 if input_px < SQUARE_PX and would_do else TOO_SMALL


def draw_inf_lesson(
    rng: np.random.Generator, fonts: Sequence[FontFile], small_share: float, kinds: Mapping[str, float] = KIND_SHARES
) -> Lesson:
    """A lesson at one of both inputs, mostly one at which the whole document can be read."""
    if rng.random() < GREETING_SHARE:
        return Lesson(None, None, (Exchange("greeting", GREETINGS[rng.integers(len(GREETINGS))], GREETING_ANSWER),))
    input_px = VIEW_PX if rng.random() < small_share else SQUARE_PX
    is_enough = rng.random() < ENOUGH_SHARE
    while True:
        paper = draw_training_paper(rng, fonts, kinds=kinds)
        size_px = paper.document.size_px
        if is_enough and paper.smallest_px * reading_scale(size_px, input_px) < LEGIBLE_PX:
            input_px = SQUARE_PX
            if paper.smallest_px * reading_scale(size_px, input_px) < LEGIBLE_PX:
                continue
        plan = DualPerspectivePlan(size_px, input_px)
        if exchanges := converse(rng, as_seen(rng, paper, plan), plan, MAX_TURNS):
            return Lesson(paper.document, plan, tuple(exchanges))


def lesson_ids(lesson: Lesson, processor: InfLlavaProcessor) -> LessonIds:
    """The conversation as the app prompts with it; loss falls on the answers and their ends only."""
    view = None if lesson.document is None else _ANY_VIEW
    parts = LLAMA3_CHAT.build_prompt("", (), lesson.exchanges[0].question, view).parts
    before = processor.encode_part(parts[0], 0)
    after = [each for part in parts[1:] for each in processor.encode_part(part, 1)]
    labels, glyphs = [NO_LABEL] * len(after), [NOWHERE] * len(after)
    for index, exchange in enumerate(lesson.exchanges):
        if index:
            question = processor.encode_part(LLAMA3_CHAT.render("", (), exchange.question), 1)
            after += question
            labels += [NO_LABEL] * len(question)
            glyphs += [NOWHERE] * len(question)
        answer = processor.encode_part(exchange.answer + LLAMA3_CHAT.turn_end, 1)
        after += answer
        labels += answer
        glyphs += _sources(lesson, exchange)
    return LessonIds(before, after, labels, glyphs)


def _sources(lesson: Lesson, exchange: Exchange) -> list[int]:
    """For every byte of an answer, and its end, the document's character it is read from."""
    lengths = [len(char.encode()) for char in exchange.answer]
    if lesson.document is None or exchange.task in FIXED_ANSWERS:
        return [NOWHERE] * (sum(lengths) + 1)
    glyphs = answer_glyphs(exchange.answer, lesson.document, exchange.lines)
    return [glyph for glyph, length in zip(glyphs, lengths, strict=True) for _ in range(length)] + [NOWHERE]


def views_of_padding(plan: DualPerspectivePlan) -> list[bool]:
    """For each of the ten views that are computed whether it shows nothing but the padding around the image."""
    cells = [divmod(index, plan.grid.cols) for index in range(plan.num_tiles)]
    rects = [plan.block_rect(row, col) for row, col in cells]
    return [rect.is_empty for rect in rects] + [False]
