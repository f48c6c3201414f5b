"""Servers count a prompt's visual tokens in different fields, and the network cuts their lines anywhere."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixc.chat.remote_stream import StreamReader, lines_of


@pytest.mark.parametrize(
    ("details", "num_visual"),
    [
        ({"image_tokens": 937}, 937),
        ({"image_tokens": None, "multimodal_tokens": {"image": 313, "audio": 5}}, 313),
        ({"multimodal_tokens": {}}, 0),
        ({"multimodal_tokens": None}, 0),
        (None, 0),
    ],
    ids=["this project", "vLLM", "no image", "nothing counted", "no details"],
)
def test_visual_tokens_are_found_wherever_they_are_counted(details, num_visual):
    usage = {"prompt_tokens": 1000, "completion_tokens": 1, "prompt_tokens_details": details}
    chunks = [
        {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": usage},
    ]
    finished = list(StreamReader().events([*(f"data: {json.dumps(chunk)}" for chunk in chunks), "data: [DONE]"]))[-1]
    assert finished.stats.num_visual_tokens == num_visual


LINES = st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), max_size=6)


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.lists(st.integers(0, 200)))
def test_lines_end_where_servers_end_them_wherever_the_network_cuts(lines, end, is_ended, cuts):
    """Of signs of several bytes too. Empty lines carry nothing."""
    data = (end.join(lines) + (end if is_ended else "")).encode()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(places)]
    assert [line for line in lines_of(pieces) if line] == lines


def test_bytes_that_are_no_text_end_nothing():
    assert list(lines_of([b"data: \xff", b"\xe2\x80", b"\n"])) == ["data: \ufffd\ufffd"]


def test_counts_that_are_null_cost_no_answer():
    """As some servers send them in the last chunk."""
    chunks = [
        {"choices": [{"delta": {"content": "Wh"}}]},
        {"choices": [{"delta": {"content": "ole"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": None}, "timings": None},
    ]
    events = list(StreamReader().events([*(f"data: {json.dumps(chunk)}" for chunk in chunks), "data: [DONE]"]))
    assert [event.text for event in events[:2]] == ["Wh", "ole"]
    assert (events[-1].stats.num_new_tokens, events[-1].stats.num_prompt_tokens) == (2, 0)
