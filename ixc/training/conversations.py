"""A laid-out document with its conversation: questions in a random order, and answers that fit the budget.

What cannot be read at a budget is answered with one that would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ixc.tiling import SizePx, TilePlan, plan_tiles
from ixc.training import asking
from ixc.training.cells import LEGIBLE_PX, MARK_COLOURS, MARK_FORMS
from ixc.training.charts import lay_out_chart
from ixc.training.fixed_answers import kind_answer
from ixc.training.fonts import FontFile
from ixc.training.layout import Document, Figure, finish_for, lay_out_sign
from ixc.training.records import CHARTS, Question, Record, draw_chart, draw_fields, draw_notice, draw_table
from ixc.training.sheets import LAYOUTS, draw_style, lay_out_sheet
from ixc.training.wording import Split

KINDS = ("sign", "receipt", "invoice", "form", "label", "ticket", "table", *CHARTS, "notice", "shapes", "photograph")
DOUBTFUL_PX = 0.8 * LEGIBLE_PX
"""Between this size and ``LEGIBLE_PX`` a text may be read or not; nothing is asked about it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a document; ``lines`` and ``marks`` are the indices of the lines and shapes it takes to answer."""

    question: Question
    lines: tuple[int, ...]
    marks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Paper:
    """A document and everything that can be asked about it."""

    kind: str
    document: Document
    asked: tuple[Asked, ...]

    @property
    def smallest_px(self) -> float:
        """Size of the smallest text, infinite where there is none."""
        return min((float(line.sizes_px()[0].min()) for line in self.document.lines if line.text), default=np.inf)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question in words, its answer at one budget, its task, and the indices of the lines and shapes it is answered from."""

    task: str
    question: str
    answer: str
    lines: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()


def draw_paper(
    rng: np.random.Generator, fonts: Sequence[FontFile], split: Split, kind: str, layouts: Sequence[str] = LAYOUTS
) -> Paper:
    """A document of ``kind``, one of ``KINDS``."""
    if kind == "sign":
        document = lay_out_sign(rng, fonts, split)
        questions = [Question("sign", asking.READ, document.text, ()), Question("kind", asking.KIND, kind_answer(kind), ())]
        return Paper(kind, document, tuple(Asked(question, (0,)) for question in questions))
    if kind == "photograph":
        document = _photograph(rng)
        questions = [Question("photograph", asking.READ + asking.KIND, asking.NO_TEXT, ())] * 2
        return Paper(kind, document, tuple(Asked(question, ()) for question in questions))
    if kind == "shapes":
        return _draw_shapes(rng)
    record = _draw_record(rng, split, kind)
    style = draw_style(rng, fonts, layouts)
    if record.values:
        document, index_of = lay_out_chart(rng, record, style)
    else:
        document, index_of = lay_out_sheet(rng, record.sheet, style)
    asked = tuple(Asked(each, tuple(index_of[key] for key in each.needs)) for each in record.questions)
    return Paper(kind, document, asked)


def converse(rng: np.random.Generator, paper: Paper, plan: TilePlan, max_turns: int) -> list[Exchange]:
    """Up to ``max_turns`` exchanges about ``paper`` cut by ``plan``; may be empty where everything is of doubtful size."""
    sizes = [line.sizes_px()[0].min() if line.text else 0.0 for line in paper.document.lines]
    exchanges: list[Exchange] = []
    has_refused = False
    for index in rng.permutation(len(paper.asked)):
        asked = paper.asked[index]
        smallest = min((sizes[line] for line in asked.lines), default=np.inf)
        size_px = smallest * local_scale(plan)
        answer, task, lines = asked.question.answer, asked.question.task, asked.lines
        if DOUBTFUL_PX <= size_px < LEGIBLE_PX or len(answer) > 100:
            continue
        if size_px < DOUBTFUL_PX:
            if has_refused:
                continue
            answer, task, lines = asking.too_small(budget_for(plan.original_px, smallest)), "too small", ()
            has_refused = True
        words = asked.question.in_words(rng, is_first=not exchanges)
        exchanges.append(Exchange(task, words, answer, lines, asked.marks))
        if len(exchanges) == max_turns:
            break
    if exchanges and rng.random() < 0.04:
        exchanges[-1] = Exchange("beyond", asking.ask(rng, asking.BEYOND_QUESTIONS, {}), asking.BEYOND)
    return exchanges


def local_scale(plan: TilePlan) -> float:
    """Pixels of the tiles per pixel of the document, the smaller of both directions."""
    return min(plan.resized_px.width / plan.original_px.width, plan.resized_px.height / plan.original_px.height)


def budget_for(original_px: SizePx, size: float, budgets: Sequence[int] = asking.BUDGETS) -> int:
    """The smallest of ``budgets``, which rise, at which text of this size in the document can be read, or the largest."""
    for budget in budgets:
        if size * local_scale(plan_tiles(original_px, budget)) >= LEGIBLE_PX:
            return budget
    return budgets[-1]


def _draw_record(rng: np.random.Generator, split: Split, kind: str) -> Record:
    if kind == "table":
        return draw_table(rng, split)
    if kind in CHARTS:
        return draw_chart(rng, split, kind)
    if kind == "notice":
        return draw_notice(rng, split)
    return draw_fields(rng, split, kind)


_PAINTS = {
    "red": (215, 35, 35),
    "green": (35, 150, 60),
    "blue": (40, 80, 210),
    "yellow": (245, 205, 30),
    "purple": (140, 50, 170),
    "black": (25, 25, 25),
}


def _draw_shapes(rng: np.random.Generator) -> Paper:
    """Up to five coloured shapes that do not touch, to be counted and named."""
    size_px = SizePx(int(rng.integers(300, 500)), int(rng.integers(300, 600)))
    cells = [(row, col) for row in range(2) for col in range(3)]
    num = int(rng.integers(1, 6))
    figures = []
    for index in rng.permutation(len(cells))[:num]:
        row, col = cells[index]
        cell_h, cell_w = size_px.height / 2, size_px.width / 3
        side = min(cell_h, cell_w) * rng.uniform(0.45, 0.85)
        left = col * cell_w + rng.uniform(0, cell_w - side)
        top = row * cell_h + rng.uniform(0, cell_h - side)
        colour, form = str(rng.choice(MARK_COLOURS)), str(rng.choice(MARK_FORMS))
        paint = tuple(int(v) for v in np.clip(np.array(_PAINTS[colour]) + rng.integers(-20, 21, 3), 0, 255))
        figures.append(Figure(form, (left, top, left + side, top + side), paint, (colour, form)))
    background = tuple(int(v) for v in rng.integers(235, 256, 3))
    document = Document(size_px, background, (), "", finish=finish_for(rng, 20), figures=tuple(figures))
    return Paper("shapes", document, tuple(_ask_about_shapes(rng, figures)))


def _ask_about_shapes(rng: np.random.Generator, figures: Sequence[Figure]) -> list[Asked]:
    forms = [figure.mark[1] for figure in figures]
    asked = [
        Asked(Question("shapes", asking.COUNT, str(len(figures)), (), names={"name": "shapes"}), ()),
        Asked(Question("kind", asking.KIND, kind_answer("shapes"), ()), ()),
    ]
    for form in sorted({*forms, str(rng.choice(MARK_FORMS))}):  # a set has another order in every process
        asked.append(Asked(Question("shapes", asking.COUNT, str(forms.count(form)), (), names={"name": f"{form}s"}), ()))
    for index, figure in enumerate(figures):
        colour, form = figure.mark
        if forms.count(form) == 1:
            question = Question("shapes", asking.COLOUR, colour.capitalize(), (), names={"name": form})
            asked.append(Asked(question, (), (index,)))
    return asked


def _photograph(rng: np.random.Generator) -> Document:
    """No photograph, but as little text: soft blobs of colour."""
    size_px = SizePx(int(rng.integers(200, 700)), int(rng.integers(200, 700)))
    figures = []
    for _ in range(rng.integers(3, 14)):
        x, y = rng.uniform(-0.3, 1) * size_px.width, rng.uniform(-0.3, 1) * size_px.height
        w, h = rng.uniform(0.1, 0.9) * size_px.width, rng.uniform(0.1, 0.9) * size_px.height
        form = str(rng.choice(("circle", "rectangle", "triangle")))
        figures.append(Figure(form, (x, y, x + w, y + h), tuple(int(v) for v in rng.integers(0, 256, 3))))
    finish = replace(finish_for(rng, 60), blur_px=float(rng.uniform(3, 20)), noise=float(rng.uniform(0, 12)))
    background = tuple(int(v) for v in rng.integers(0, 256, 3))
    return Document(size_px, background, (), "", finish=finish, figures=tuple(figures))
