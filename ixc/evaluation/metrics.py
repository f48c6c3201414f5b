"""The benchmarks' own metrics, one question at a time: a prediction and its accepted answers -> 0 to 1.

Each follows the script that its benchmark scores with, quirks included, because the published numbers were made so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ixc.evaluation.vqa_answers import normalise_answer

ANLS_THRESHOLD = 0.5
RELATIVE_TOLERANCE = 0.05
NUM_TEXTVQA_ANSWERS = 10
_MATCHES_FOR_FULL_SCORE = 3
"""An answer that three people gave counts in full."""


def anls(prediction: str, answers: Sequence[str]) -> float:
    """Average normalised Levenshtein similarity of DocVQA and InfographicVQA: the best over the answers, 0 below one half.

    Source: arXiv 1907.00490, section 5 (ANLS), as scored by the evaluation script of the Robust Reading Competition, task
    ch=17: case and runs of white space are folded for the distance, while its length is that of the texts as they came, and
    a similarity of exactly one half still counts. Raises ValueError without answers.
    """
    similarity = max(1 - _normalised_distance(prediction, answer) for answer in answers)
    return similarity if similarity >= ANLS_THRESHOLD else 0.0


def relaxed_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """ChartQA: a number may be off by 5 % of the right one, anything else must be the same but for case.

    Source: arXiv 2203.10244, end of section 5.1, as scored by Pix2Struct and everyone since: "12%" is 0.12, so that "12%" and
    "12" differ; a right answer of 0 is compared as text, as are numbers with thousands separators; predictions are stripped.
    """
    return float(any(_is_relaxed_match(prediction.strip(), answer) for answer in answers))


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """TextVQA: the share of people who agree, three being enough, averaged over leaving each of the ten answers out.

    min(1, matches among the other nine / 3), mean of the ten; both sides normalised by ``normalise_answer``. Source:
    arXiv 1505.00468, section 3 (VQA accuracy), as scored for TextVQA by its authors (MMF's TextVQAAccuracyEvaluator).
    Raises ValueError without answers.
    """
    wanted = normalise_answer(prediction)
    matches = [normalise_answer(answer) == wanted for answer in answers]
    if not matches:
        raise ValueError("there is no answer to compare with")
    others = (sum(matches) - is_match for is_match in matches)
    return sum(min(1.0, num / _MATCHES_FOR_FULL_SCORE) for num in others) / len(matches)


def contains_answer(prediction: str, answers: Sequence[str]) -> float:
    """OCRBench: an answer stands somewhere in the prediction, case and line breaks aside.

    Source: arXiv 2305.07895, section 3, and the benchmark's example script.
    """
    text = _on_one_line(prediction.lower())
    return float(any(_on_one_line(answer.lower()) in text for answer in answers))


def contains_formula(prediction: str, answers: Sequence[str]) -> float:
    """OCRBench's handwritten formulas: as ``contains_answer``, but spaces and line breaks do not count and case does."""
    text = _on_one_line(prediction).replace(" ", "")
    return float(any(_on_one_line(answer).replace(" ", "") in text for answer in answers))


def levenshtein(first: str, second: str) -> int:
    """The fewest insertions, deletions and replacements of letters that turn one text into the other."""
    row = list(range(len(second) + 1))
    for index, letter in enumerate(first, start=1):
        above_left, row[0] = row[0], index
        for place, other in enumerate(second, start=1):
            above_left, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, above_left + (letter != other))
    return row[-1]


def _normalised_distance(prediction: str, answer: str) -> float:
    longest = max(len(prediction), len(answer))
    return levenshtein(_folded(prediction), _folded(answer)) / longest if longest else 0.0


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _is_relaxed_match(prediction: str, answer: str) -> bool:
    predicted, right = _as_number(prediction), _as_number(answer)
    if predicted is not None and right:
        return abs(predicted - right) / abs(right) <= RELATIVE_TOLERANCE
    return prediction.lower() == answer.lower()


def _as_number(text: str) -> float | None:
    """The value of a finite number or percentage. "nan" and "inf" are words: as numbers they would not equal themselves."""
    try:
        number = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _on_one_line(text: str) -> str:
    return text.strip().replace("\n", " ")
