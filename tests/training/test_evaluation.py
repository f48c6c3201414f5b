"""How readings are counted."""

from hypothesis import given
from hypothesis import strategies as st

from ixc.evaluation.held_out import KNOWN, Task
from ixc.evaluation.metrics import levenshtein
from ixc.evaluation.nano import Reading, fold, summarise
from ixc.tiling import SizePx
from ixc.training import asking

short = st.text(alphabet="abc", max_size=4)


@given(short, short)
def test_edit_distance_is_the_shortest_way(first, second):
    """Oracle: breadth-first search over single edits."""
    frontier, steps = {first}, 0
    while second not in frontier:
        grown = set()
        for text in frontier:
            for place in range(len(text) + 1):
                grown |= {text[:place] + char + text[place:] for char in "abc"}
                grown |= {text[:place] + text[place + 1 :]} | {text[:place] + char + text[place + 1 :] for char in "abc"}
        frontier, steps = {text for text in grown if len(text) <= 5}, steps + 1
    assert levenshtein(first, second) == steps


def reading(text, answer):
    return Reading(Task(b"", SizePx(336, 336), "sign", "Read this.", text, KNOWN), 1, answer)


def test_readings_are_counted_folded_and_strictly():
    counted = summarise(
        [
            reading("Fire EXIT", "Fire EXIT"),
            reading("Fire EXIT", " fire  exit"),
            reading("Gate 7", "Gate 1"),
            reading("Open", ""),
        ]
    )
    assert counted == {"num": 4, "exact": 0.5, "exact_strict": 0.25, "character_error_rate": round(5 / 28, 4)}
    assert fold(" A\n b ") == "a b"


def test_a_refusal_counts_when_the_text_is_tiny_and_helps_when_its_budget_would_do():
    """By hand: 6 px type on a square sheet as wide as a tile; HD-4 doubles it to 12 px, HD-9 makes it 18 px."""
    task = Task(b"", SizePx(336, 336), "field", "What is the total?", "Total: 3.50", KNOWN, smallest_px=6.0)
    assert [task.is_legible(budget) for budget in (1, 4, 9)] == [False, None, True]
    useless, useful = (Reading(task, 1, asking.too_small(budget)) for budget in (4, 9))
    assert useless.says_too_small
    assert not useless.named_budget_would_do
    assert useful.named_budget_would_do
    assert not Reading(task, 1, "Total: 3.50").says_too_small
