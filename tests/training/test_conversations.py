"""Documents and what is asked about them: answers stand on the paper, refusals name a budget that would do."""

import dataclasses
import itertools
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from ixc.tiling import plan_tiles
from ixc.training import asking
from ixc.training.cells import LEGIBLE_PX
from ixc.training.conversations import DOUBTFUL_PX, KINDS, converse, draw_paper
from ixc.training.lessons import KIND_SHARES, draw_alike, draw_lesson, enlarge
from ixc.training.painting import paint
from ixc.training.wording import Split, split_of

WRITTEN = ("field", "title", "paragraph", "chart value", "table row", "sign")
"""Tasks whose answers are copied from the paper."""


def rng(*seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_answered_stands_on_the_paper(fonts, kind):
    """Oracle: all the paper's texts in reading order, spaces aside."""
    for seed in range(12):
        paper = draw_paper(rng(seed), fonts, Split.TRAINING, kind)
        written = "".join("".join(line.text for line in paper.document.lines).split())
        for asked in paper.asked:
            if asked.question.task in WRITTEN:
                assert "".join(asked.question.answer.split()) in written
            if asked.question.task == "table cell":
                place, value = asked.question.answer.split(": ")
                row, col = place.split(", ")
                texts = [paper.document.lines[line].text for line in asked.lines]
                assert texts == [row, col, value]


def test_a_refusal_names_the_smallest_budget_that_would_do(fonts):
    """Oracle: every budget tried, with sizes measured on the painted capitals' boxes."""
    num_refusals = 0
    for seed in range(40):
        paper = draw_paper(rng(1, seed), fonts, Split.TRAINING, "form")
        paper = dataclasses.replace(paper, document=enlarge(rng(2, seed), paper.document, 3))
        for exchange in converse(rng(3, seed), paper, plan_tiles(paper.document.size_px, 1), 8):
            if exchange.task != "too small":
                continue
            num_refusals += 1
            named = int(re.search(r"Try (\d+) patches", exchange.answer)[1])
            sizes = [line.sizes_px()[0].min() for line in paper.document.lines]

            def legible(budget, size, document=paper.document):
                plan = plan_tiles(document.size_px, budget)
                return size * min(plan.resized_px.width / document.size_px.width, 1e9) >= LEGIBLE_PX * 0.98

            assert any(legible(named, size) for size in sizes)
            assert named == 4 or not all(
                legible(asking.BUDGETS[asking.BUDGETS.index(named) - 1], size * 0.96) for size in sizes
            )
    assert num_refusals > 10


def test_lessons_at_a_middle_budget_ask_for_more_tiles_too(fonts):
    """What a model is never shown it cannot say: of 9 tiles that are not enough it once said "Try 9 patches"."""
    lessons = [draw_lesson(rng(8, seed), fonts, (9,)) for seed in range(150)]
    refusals = [each.answer for lesson in lessons for each in lesson.exchanges if each.task == "too small"]
    assert len(refusals) > 3
    assert all(int(re.search(r"Try (\d+) patches", answer)[1]) > 9 for answer in refusals)


def test_training_sets_tables_as_print_spreadsheets_and_web_pages_do(fonts):
    """Flush left, flush right or centred, by what the edges of a heading and of a cell below it have in common."""

    def edges(line):
        return line.left_px, line.left_px + line.font.starts_px(line.font_px, line.text)[-1]

    def common(first, second):
        (left, right), (other_left, other_right) = edges(first), edges(second)
        sides = {"left": left - other_left, "right": right - other_right, "centre": left + right - other_left - other_right}
        return frozenset(side for side, distance in sides.items() if abs(distance) < 0.01)

    seen = {split: set() for split in Split}
    for split, seed in itertools.product(Split, range(80)):
        paper = draw_paper(rng(9, seed), fonts, split, "table")
        lines = [each.lines for each in paper.asked if each.question.task == "table cell"]
        seen[split] |= {common(paper.document.lines[col], paper.document.lines[cell]) for _, col, cell in lines}
    assert {frozenset({side}) for side in ("left", "right", "centre")} | {frozenset()} <= seen[Split.TRAINING]
    assert all("right" in sides for sides in seen[Split.TEST])


@pytest.mark.parametrize("kind", ["shapes", "table"])
def test_a_seed_asks_the_same_in_every_process(kind):
    """Strings in a set have another order in each; questions about shapes were once drawn in it."""
    code = f"""
import numpy as np
from ixc.training.conversations import draw_paper
from ixc.training.fonts import BUILT_IN
from ixc.training.wording import Split
for seed in range(8):
    paper = draw_paper(np.random.default_rng(seed), (BUILT_IN,), Split.TEST, {kind!r})
    print([(asked.question.phrasings[0], asked.question.names, asked.question.answer) for asked in paper.asked])
"""
    environments = ({**os.environ, "PYTHONHASHSEED": str(number)} for number in (1, 2))
    first, second = (
        subprocess.run([sys.executable, "-c", code], env=each, capture_output=True, text=True, check=True).stdout
        for each in environments
    )
    assert first.count("\n") == 8
    assert first == second


def test_nothing_is_asked_in_the_doubtful_zone(fonts):
    for seed in range(60):
        paper = draw_paper(rng(4, seed), fonts, Split.TRAINING, "label")
        plan = plan_tiles(paper.document.size_px, 1)
        scale = min(
            plan.resized_px.width / paper.document.size_px.width, plan.resized_px.height / paper.document.size_px.height
        )
        sizes = [line.sizes_px()[0].min() * scale for line in paper.document.lines]
        if all(DOUBTFUL_PX <= size < LEGIBLE_PX for size in sizes):
            assert converse(rng(5), paper, plan, 8) == []


def test_values_of_training_and_test_never_coincide(fonts):
    values = {split: set() for split in Split}
    for split in Split:
        for seed in range(60):
            paper = draw_paper(rng(6, seed), fonts, split, "invoice")
            values[split] |= {
                line.text for line in paper.document.lines if re.search(r"\d{3}", line.text) and ":" not in line.text
            }
    exact = {text for text in values[Split.TEST] if split_of(text) is Split.TEST}
    assert len(exact) > 20
    assert not exact & values[Split.TRAINING]


def test_lessons_of_a_batch_are_cut_alike_and_a_seed_repeats_them(fonts):
    for seed in range(6):
        lessons, again = (draw_alike(each, fonts, draw_lesson(each, fonts, (1, 4)), 4) for each in (rng(7, seed), rng(7, seed)))
        assert [lesson.exchanges for lesson in lessons] == [lesson.exchanges for lesson in again]
        if lessons[0].document is not None:
            assert len({lesson.plan.grid for lesson in lessons}) == 1
            assert np.array_equal(paint(lessons[0].document), paint(again[0].document))
    assert sum(KIND_SHARES.values()) == pytest.approx(1)
    assert set(KIND_SHARES) == set(KINDS)
