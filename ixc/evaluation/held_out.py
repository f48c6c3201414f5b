"""Documents the small model has never seen: drawn from test seeds and texts, half of them in held-out fonts and layouts.

Every document gives one question; a second one about the same document follows it where there is another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ixc.tiling import SizePx, plan_tiles
from ixc.training.cells import LEGIBLE_PX
from ixc.training.conversations import DOUBTFUL_PX, Asked, Paper, draw_paper, local_scale
from ixc.training.fixed_answers import FIXED_ANSWERS
from ixc.training.fonts import held_out_fonts, training_fonts
from ixc.training.layout import Document
from ixc.training.lessons import enlarge
from ixc.training.painting import paint_file
from ixc.training.records import CHARTS
from ixc.training.sheets import HELD_OUT_LAYOUTS, LAYOUTS
from ixc.training.wording import Split

KNOWN, HELD_OUT = "known", "held-out"
KINDS = ("receipt", "form", "invoice", "label", "table", "ticket", "bar chart", "notice", "shapes", "sign", *CHARTS[1:])
"""In turn; by kind and by fonts and layouts a test set is thus balanced."""
FIXED_WEIGHT = 0.3
"""How often a question is asked that a fixed sentence answers, compared with one that takes reading."""
MOST_ENLARGED = 3.2
"""The widest background is this many times the document: the same type is then small at a small budget."""
ENOUGH = 16
"""Budget at which every document can be read."""


@dataclass(frozen=True, slots=True)
class Task:
    """One question about one picture. ``smallest_px`` is the size of the smallest text it takes, None where it takes none."""

    file: bytes
    """As an upload: PNG, or JPEG that may be stored turned."""
    size_px: SizePx
    name: str
    question: str
    answer: str
    group: str
    smallest_px: float | None = None
    earlier: tuple[str, str] | None = None
    """For a follow-up: the question and answer before."""

    def is_legible(self, max_patches: int) -> bool | None:
        """Whether the text can be read at this budget; None in the doubtful zone between yes and no."""
        if self.smallest_px is None:
            return True
        size_px = self.smallest_px * local_scale(plan_tiles(self.size_px, max_patches))
        if DOUBTFUL_PX <= size_px < LEGIBLE_PX:
            return None
        return size_px >= LEGIBLE_PX


def make_tasks(num_documents: int, seed: int) -> list[Task]:
    """Tasks about ``num_documents`` documents. Raises SettingsError when fonts are missing."""
    fonts = {KNOWN: training_fonts(), HELD_OUT: held_out_fonts()}
    layouts = {KNOWN: LAYOUTS, HELD_OUT: HELD_OUT_LAYOUTS}
    tasks: list[Task] = []
    for index in range(num_documents):
        rng = np.random.default_rng([seed, 1, index])
        group = (KNOWN, HELD_OUT)[index // len(KINDS) % 2]
        paper = draw_paper(rng, fonts[group], Split.TEST, KINDS[index % len(KINDS)], layouts[group])
        tasks += _tasks_of(rng, paper, group)
    return tasks


def _tasks_of(rng: np.random.Generator, paper: Paper, group: str) -> list[Task]:
    if paper.kind not in ("sign", "shapes"):
        paper = replace(paper, document=_on_background(rng, paper))
    file = paint_file(paper.document)
    askable = [asked for asked in paper.asked if len(asked.question.answer) <= 100]
    weights = np.array([FIXED_WEIGHT if asked.question.task in FIXED_ANSWERS else 1.0 for asked in askable])
    chosen = [askable[index] for index in rng.permutation(len(askable))]
    chosen = [askable[rng.choice(len(askable), p=weights / weights.sum())], *chosen]
    first = _task(rng, paper, chosen[0], file, group)
    for other in chosen[1:]:
        if other.question.next_phrasings and other is not chosen[0] and other.question.task not in FIXED_ANSWERS:
            return [first, _task(rng, paper, other, file, group, earlier=(first.question, first.answer))]
    return [first]


def _on_background(rng: np.random.Generator, paper: Paper) -> Document:
    """The document on as much background as makes its type small at small budgets, but leaves it legible at ``ENOUGH``."""
    factor = float(np.exp(rng.uniform(0, np.log(MOST_ENLARGED))))
    while True:
        document = enlarge(rng, paper.document, factor)
        if factor <= 1 or paper.smallest_px * local_scale(plan_tiles(document.size_px, ENOUGH)) >= LEGIBLE_PX:
            return document
        factor = max(1.0, 0.9 * factor)


def _task(
    rng: np.random.Generator, paper: Paper, asked: Asked, file: bytes, group: str, earlier: tuple[str, str] | None = None
) -> Task:
    sizes = [float(paper.document.lines[line].sizes_px()[0].min()) for line in asked.lines if paper.document.lines[line].text]
    question = asked.question.in_words(rng, is_first=earlier is None)
    name = asked.question.task if earlier is None else "follow-up"
    return Task(file, paper.document.size_px, name, question, asked.question.answer, group, min(sizes, default=None), earlier)
