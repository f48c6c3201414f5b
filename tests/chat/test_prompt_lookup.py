"""Guesses from the text so far, by hand; and that checking them gives what choosing one by one gives."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ixc.chat.prompt_lookup import PromptLookup, decode_with_lookup


def lookup_of(*pieces, max_tokens=4):
    return PromptLookup(pieces, max_tokens)


def test_what_followed_the_same_three_tokens_last_is_guessed():
    assert lookup_of([1, 2, 3, 8, 9], [1, 2, 3, 5, 6, 7, 1, 2, 3]).draft(4) == [5, 6, 7, 1]
    assert lookup_of([1, 2, 3, 5, 6, 7, 1, 2, 3]).draft(2) == [5, 6]


def test_two_tokens_serve_where_three_were_not_seen_and_one_never():
    assert lookup_of([4, 2, 3, 5, 9, 2, 3]).draft(1) == [5]
    assert lookup_of([4, 3, 5, 9, 3]).draft(4) == []


def test_nothing_is_guessed_across_an_image():
    assert lookup_of([1, 2], [3, 1, 2]).draft(4) == []
    assert lookup_of([1, 2], [9], [1, 2]).draft(4) == []


@given(
    st.lists(st.integers(0, 3), max_size=12),
    st.lists(st.integers(0, 3), min_size=30, max_size=30),
    st.integers(1, 5),
)
def test_the_answer_is_the_one_without_guesses(prompt, answer, max_tokens):
    """A model that says ``answer`` whatever it is fed, given its own true prefix; fed a wrong one it says 7."""
    stored: list[int] = []

    def run(ids):
        stored.extend(ids)
        kept = len(stored) - len(ids)
        rows = []
        for index in range(len(ids)):
            prefix = stored[: kept + index + 1]
            rows.append(answer[len(prefix)] if prefix == answer[: len(prefix)] and len(prefix) < len(answer) else 7)
        run.num = len(ids)
        return torch.tensor(rows)

    def keep(num_kept):
        del stored[len(stored) - run.num + num_kept :]

    lookup = PromptLookup([prompt], max_tokens)
    ids = decode_with_lookup(lookup, answer[0], run, int, keep)
    assert [next(ids) for _ in range(20)] == answer[:20]
    assert stored == answer[: len(stored)]
    assert 0 <= lookup.num_accepted <= lookup.num_drafted
