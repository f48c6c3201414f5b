"""How readings are counted."""

from hypothesis import given
from hypothesis import strategies as st

from ixc.evaluation.nano import KNOWN, Reading, Sign, edit_distance, fold, summarise

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
    assert edit_distance(first, second) == steps


def reading(text, answer):
    return Reading(Sign(b"", "Read this.", text, KNOWN), 1, answer)


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
