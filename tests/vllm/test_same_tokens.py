"""Greedy answers are those of the project's own engine, token by token, however vLLM runs the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ixc.chat.loading import load_engine
from ixc.settings import Settings
from tests.vllm.asking import Answer, Question, ask_native
from tests.vllm.offline import ask_vllm

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
DATA = Path(__file__).parents[1] / "data" / "ixc2_4khd"
LANDSCAPE, PORTRAIT = DATA / "img_landscape.png", DATA / "img_portrait.png"
SIGN, LABEL = EXAMPLES / "sign.png", EXAMPLES / "label.png"
CHUNK = 256
NEW_TOKENS = 16

QUESTIONS = {
    "text": Question("Who are you, and what can you read? [UNUSED_TOKEN_145] <ImageHere>"),
    "one image": Question("What does the sign say?", (SIGN,), 3),
    "two images": Question("Is it the same in both?", (LANDSCAPE, PORTRAIT), 2),
    "second turn": Question("And the label?", (LABEL,), 2, (("What does the sign say?", (SIGN,), "PLATFORM 7"),)),
    "second turn on": Question("Again?", (), 2, (("What does the sign say?", (SIGN,), "PLATFORM 7"),)),
    "larger than the chunk": Question("What is written here?", (LABEL,), 6),
    "the same at another budget": Question("What is written here?", (LABEL,), 2),
}
ONE_IMAGE = {name: question for name, question in QUESTIONS.items() if name not in ("two images", "second turn")}
"""What the shipped model takes, which looks at one image at a time."""
EAGER = {"enforce_eager": True, "max_model_len": 4096}
IN_CHUNKS = {
    "eager": {"enforce_eager": True, "max_model_len": 4096, "max_num_batched_tokens": CHUNK, "max_num_seqs": 4},
    "compiled": {"max_model_len": 4096, "max_num_batched_tokens": CHUNK, "max_num_seqs": 4},
}


@pytest.mark.parametrize("way", IN_CHUNKS)
@pytest.mark.parametrize("checkpoint", ["nano", "noise"])
def test_tokens_are_those_of_the_native_engine(checkpoint, way, request, tmp_path):
    questions = ONE_IMAGE if checkpoint == "nano" else QUESTIONS
    native = compare(request.getfixturevalue(checkpoint), questions, tmp_path, IN_CHUNKS[way])
    assert len(native["larger than the chunk"].prompt_ids) > 2 * CHUNK


@pytest.mark.parametrize("checkpoint", ["official", "single_view"])
def test_other_layouts_and_the_single_view_model_do_as_well(checkpoint, request, tmp_path):
    few = {name: QUESTIONS[name] for name in ("text", "one image", "two images", "second turn")}
    compare(request.getfixturevalue(checkpoint), few, tmp_path, EAGER)


def test_the_model_can_be_split_over_two_processes(noise, tmp_path):
    compare(noise, QUESTIONS, tmp_path, EAGER | {"tensor_parallel_size": 2})


def compare(folder: Path, questions: Mapping[str, Question], tmp_path: Path, way: Mapping[str, object]) -> dict[str, Answer]:
    engine = load_engine(Settings(model=str(folder), resize="exact"))
    native = {name: ask_native(engine, question, NEW_TOKENS) for name, question in questions.items()}
    engine.close()
    assert len({tuple(answer.new_ids) for answer in native.values()}) > len(questions) // 2
    answers = ask_vllm(folder, list(questions.values()), NEW_TOKENS, tmp_path, **way)
    for name, answer in zip(questions, answers, strict=True):
        assert answer == native[name], name
    return native
