"""Beam search asks for what the user set, whatever the checkpoint's generation_config.json adds for ``generate``."""

import json
import shutil
from contextlib import closing
from dataclasses import replace

import pytest

from ixc.chat.loading import load_engine
from ixc.settings import Settings
from tests.chat.conftest import GREEDY, Chat

BEAMS = replace(GREEDY, num_beams=3, max_new_tokens=8)
STRANGE = [
    {"use_cache": False},
    {"return_dict_in_generate": True, "output_scores": True},
    {"cache_implementation": "static"},
    {"max_length": 10, "min_new_tokens": 30, "no_repeat_ngram_size": 1},
]


@pytest.fixture(params=STRANGE, ids=lambda settings: next(iter(settings)))
def strange_folder(request, checkpoint, tmp_path):
    """A checkpoint whose file was written for another program."""
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | request.param), encoding="utf-8")
    return folder


def test_what_the_folder_says_about_generate_changes_no_beam(strange_folder, new_chat, images, landscape):
    """The oracle is the same checkpoint with an ordinary file; ``test_beams_agree_with_generate`` has its answers."""
    expected = [new_chat(generation=BEAMS).ask("What is this?", picture).text for picture in (None, landscape)]
    with closing(load_engine(Settings(model=str(strange_folder), prefill_chunk_tokens=64), measure=False)) as engine:
        own = engine.runner.model.generation_config.to_dict()
        chats = [Chat(engine, images, name, generation=BEAMS) for name in ("text", "image")]
        answers = [chat.ask("What is this?", picture) for chat, picture in zip(chats, (None, landscape), strict=True)]
        assert [answer.text for answer in answers] == expected
        assert all(expected)
        assert engine.runner.model.generation_config.to_dict() == own, "the model itself keeps what its folder says"
