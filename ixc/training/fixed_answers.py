"""Answers that are one of a few sentences, and which of their letters tell one sentence from another.

They are learned long before any looking up, yet held half of the answers' weight: all but the letters that decide count little.
"""

from __future__ import annotations

from functools import cache

from ixc.training import asking
from ixc.training.records import KIND_NAMES
from ixc.training.wording import GREETING_ANSWER

FIXED_ANSWERS = ("kind", "absent", "too small", "photograph", "beyond")
"""Their tasks."""
DECIDING_WEIGHT, OTHER_WEIGHT = 3.0, 0.2


def kind_answer(kind: str) -> str:
    """What is said of a document of this kind."""
    return f"This is {KIND_NAMES[kind]}."


@cache
def letter_weights(sentence: str) -> tuple[float, ...]:
    """How much each letter of a sentence, and its end, counts; the first one decides, and each that others go on without."""
    decides = [position == 0 or _has_others(sentence[:position], sentence[position]) for position in range(len(sentence))]
    return tuple(DECIDING_WEIGHT if each else OTHER_WEIGHT for each in (*decides, False))


def _has_others(beginning: str, letter: str) -> bool:
    return any(each.startswith(beginning) and not each.startswith(beginning + letter) for each in _sentences())


@cache
def _sentences() -> tuple[str, ...]:
    refusals = (asking.too_small(budget) for budget in asking.BUDGETS)
    kinds = (kind_answer(kind) for kind in KIND_NAMES)
    return (*kinds, *refusals, asking.NOT_THERE, asking.NO_TEXT, asking.BEYOND, GREETING_ANSWER)
