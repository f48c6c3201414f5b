"""Servers count a prompt's visual tokens in different fields."""

from __future__ import annotations

import json

import pytest

from ixc.chat.remote_stream import StreamReader


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
