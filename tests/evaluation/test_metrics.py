"""The metrics against cases worked by hand from their definitions, and what must hold for any text."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ixc.evaluation.metrics import anls, contains_answer, contains_formula, levenshtein, relaxed_accuracy, vqa_accuracy
from ixc.evaluation.vqa_answers import normalise_answer

TEXTS = st.text(st.sampled_from(string.ascii_letters + string.digits + " .,%'-/?\n\té海"), max_size=12)
METRICS = (anls, relaxed_accuracy, vqa_accuracy, contains_answer, contains_formula)


# --- all of them --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@given(prediction=TEXTS, answers=st.lists(TEXTS, min_size=1, max_size=10))
def test_scores_lie_between_0_and_1_and_more_answers_never_hurt_where_one_is_enough(metric, prediction, answers):
    score = metric(prediction, answers)
    assert 0 <= score <= 1
    if metric is not vqa_accuracy:
        assert score == max(metric(prediction, [answer]) for answer in answers)


@pytest.mark.parametrize("metric", METRICS)
@given(text=TEXTS)
@example("nan")
@example("inf%")
@example("")
@example("%")
def test_the_answer_itself_is_right(metric, text):
    if metric is relaxed_accuracy:
        text = text.strip()  # the script strips predictions, not answers
    assert metric(text, [text] * 10) == 1


@pytest.mark.parametrize("metric", METRICS)
@given(text=TEXTS.filter(lambda text: text.strip() == text), answer=TEXTS)
def test_space_around_a_prediction_does_not_make_it_wrong(metric, text, answer):
    if metric is not anls:  # whose official length is that of the text as it came
        assert metric(f" {text}\n", [answer] * 10) == metric(text, [answer] * 10)


# --- ANLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("1/8/93", ["1/8/93"], 1),
        ("UNIVERSITY of California", ["University  of\ncalifornia"], 1),  # case and white space are folded
        ("kitten", ["sitting"], 1 - 3 / 7),  # k->s, e->i, +g: 3 edits, 7 letters
        ("abcd", ["abxy"], 0.5),  # 2 of 4: exactly one half still counts
        ("abc", ["axy"], 0),  # 1 - 2/3 is below one half
        ("cat", ["dog", "cut"], 1 - 1 / 3),  # the best of the answers
        ("", ["yes"], 0),
        ("", [""], 1),
        # The distance is that of the folded texts, "a b" and "a b", the length that of "a     b": 0 of 7.
        ("a     c", ["a b"], 1 - 1 / 7),
        ("$100", ["100"], 1 - 1 / 4),
    ],
)
def test_anls(prediction, answers, score):
    assert anls(prediction, answers) == pytest.approx(score)


@given(TEXTS, TEXTS)
def test_anls_is_symmetric_and_never_between_0_and_one_half(first, second):
    assert anls(first, [second]) == anls(second, [first])
    assert anls(first, [second]) == 0 or anls(first, [second]) >= 0.5


def edits_by_recursion(first, second):
    """The definition itself, in exponential time."""
    if not first or not second:
        return len(first) + len(second)
    if first[0] == second[0]:
        return edits_by_recursion(first[1:], second[1:])
    shorter = ((first[1:], second), (first, second[1:]), (first[1:], second[1:]))
    return 1 + min(edits_by_recursion(*pair) for pair in shorter)


@given(st.text("ab ", max_size=5), st.text("ab ", max_size=5))
def test_the_edit_distance_is_its_definition(first, second):
    assert levenshtein(first, second) == edits_by_recursion(first, second)


# --- relaxed accuracy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "answer", "is_right"),
    [
        ("14", "14", True),
        ("14.7", "14", True),  # 0.7 / 14 = 5 %
        ("14.71", "14", False),
        ("13.3", "14", True),
        ("13.29", "14", False),
        ("-0.57", "-0.57", True),
        ("0.57", "-0.57", False),
        ("2e1", "20", True),
        ("62%", "62%", True),
        ("65%", "62%", True),  # 3 / 62 = 4.8 %
        ("62", "62%", False),  # a percentage is a hundredth: 62 and 0.62
        ("0.62", "62%", True),
        ("0", "0", True),
        ("0.0", "0", False),  # 5 % of 0 is nothing: compared as text
        ("1,200", "1200", False),  # not a number to the official script
        ("yes", "Yes", True),
        ("Yes.", "Yes", False),
        ("green line ", "green line", True),
        ("Democrat", "Democrat (scores 60 to 100)", False),
        ("14", "fourteen", False),
        ("fourteen", "14", False),
        ("nan", "5", False),
        ("5", "inf", False),
    ],
)
def test_relaxed_accuracy(prediction, answer, is_right):
    assert relaxed_accuracy(prediction, [answer]) == is_right


@given(st.floats(1e-3, 1e6), st.floats(0, 0.2), st.sampled_from([-1, 1]))
def test_five_percent_of_the_right_answer_decides(right, share, sign):
    expected = None if abs(share - 0.05) < 1e-6 else float(share < 0.05)
    if expected is not None:
        assert relaxed_accuracy(repr(right * (1 + sign * share)), [repr(right)]) == expected


# --- VQA accuracy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_agreeing", "score"),
    [
        (0, 0),
        (1, 0.3),  # left out once: 0; the other nine times one match: 9 * 1/3 of 10
        (2, 0.6),  # twice one match: 2 * 1/3; eight times two: 8 * 2/3; together 6 of 10
        (3, 0.9),  # three times two matches: 3 * 2/3; seven times three: 7; together 9 of 10
        (4, 1),
        (10, 1),
    ],
)
def test_vqa_accuracy_by_the_number_of_people_who_agree(num_agreeing, score):
    answers = ["nokia"] * num_agreeing + [f"other {index}" for index in range(10 - num_agreeing)]
    assert vqa_accuracy("Nokia", answers) == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The NOKIA", "nokia"),
        ("a cat and an owl", "cat and owl"),
        ("Seven", "7"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldntve", "couldntve"),  # only one missing apostrophe is forgiven
        ("twas", "'twas"),
        ("somebody'd", "somebodyd"),  # the official table has this one the wrong way round
        ("joe's", "joe 's"),
        ("what's up?", "what 's up"),
        ("1,000,000", "1000000"),
        ("3.50", "3.50"),
        ("3.", "3"),
        ("U.S.A.", "usa"),
        ("50/50", "50 50"),  # a mark inside a word becomes a space ...
        ("50 / 50", "50 50"),
        ("a-b - c", "ab c"),  # ... unless one like it touches a space: then all of them vanish
        ("(555) 123-4567", "555 123 4567"),
        ("line one\nline two", "line 1 line 2"),
        ("\ttab\tbed ", "tab bed"),
        ("$5", "$5"),
        ("the", ""),
    ],
)
def test_words_are_compared_in_one_spelling(text, normal):
    assert normalise_answer(text) == normal


def test_vqa_accuracy_needs_answers():
    with pytest.raises(ValueError, match="no answer"):
        vqa_accuracy("yes", [])


# --- OCRBench -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "answers", "is_right"),
    [
        ('The word is "centre".', ["CENTRE"], True),
        ("cent re", ["CENTRE"], False),
        ("first\nsecond", ["First second"], True),
        ("100", ["$100", "100"], True),
        ("cen", ["CENTRE"], False),
    ],
)
def test_ocrbench_looks_for_the_answer_in_the_prediction(prediction, answers, is_right):
    assert contains_answer(prediction, answers) == is_right


@pytest.mark.parametrize(
    ("prediction", "answer", "is_right"),
    [
        (r"\frac {a} {b}", r"\frac{a}{b}", True),
        ("x ^ 2\n+ y", "x^2+y", True),
        ("so x^2 it is", "x^2i", True),
        ("X^2", "x^2", False),  # variables: case counts
        ("x\t^2", "x^2", False),  # only spaces and line breaks are taken out
    ],
)
def test_ocrbench_takes_spaces_out_of_formulas(prediction, answer, is_right):
    assert contains_formula(prediction, [answer]) == is_right
