"""Fixed sentences: only the letters that tell one from another count fully."""

import numpy as np
import pytest

from ixc.tiling import plan_tiles
from ixc.training import asking
from ixc.training.conversations import KINDS, converse, draw_paper
from ixc.training.fixed_answers import DECIDING_WEIGHT, FIXED_ANSWERS, OTHER_WEIGHT, kind_answer, letter_weights
from ixc.training.wording import GREETING_ANSWER, Split


def _deciding(sentence):
    return "".join(
        letter for letter, weight in zip(sentence, letter_weights(sentence), strict=False) if weight == DECIDING_WEIGHT
    )


def test_the_letters_that_decide_are_those_where_sentences_part():
    assert _deciding(asking.too_small(16)) == "Te1"  # This or The; 16 or 25; and nothing else begins with 1
    assert _deciding(asking.too_small(55)) == "Te5"
    assert _deciding(asking.NOT_THERE) == "Ic't"  # I am, I can read, I can't find any, I can't find that
    assert _deciding(kind_answer("ticket")).endswith("ti")  # a table, a ticket
    assert _deciding(kind_answer("invoice")).endswith("n")  # an, and only an invoice is one


def test_every_other_letter_and_the_end_count_little():
    weights = letter_weights(asking.too_small(4))
    assert len(weights) == len(asking.too_small(4)) + 1
    assert set(weights) == {DECIDING_WEIGHT, OTHER_WEIGHT}
    assert weights[-1] == OTHER_WEIGHT


@pytest.mark.parametrize("kind", KINDS)
def test_every_fixed_answer_about_a_document_is_one_of_the_sentences_told_apart(fonts, kind):
    """Oracle: letters that do not count fully follow from the beginning, among all fixed answers that were ever given."""
    given = {GREETING_ANSWER}
    for seed in range(6):
        rng = np.random.default_rng([12, seed])
        for each in (kind, "photograph"):
            paper = draw_paper(rng, fonts, Split.TRAINING, each)
            for budget in (1, 9):
                exchanges = converse(rng, paper, plan_tiles(paper.document.size_px, budget), 12)
                given |= {exchange.answer for exchange in exchanges if exchange.task in FIXED_ANSWERS}
    for answer in given:
        for position, weight in enumerate(letter_weights(answer)[:-1]):
            following = {other[position : position + 1] for other in given if other.startswith(answer[:position])}
            assert weight == DECIDING_WEIGHT or following == {answer[position]}
