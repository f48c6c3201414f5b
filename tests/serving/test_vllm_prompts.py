"""The prompts of the vLLM plug-in, which need no vLLM: token by token those of the project's own engine."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixc.chat.prompt import ImageSegment, TextSegment, encode_prompt
from ixc.conversation import DEFAULT_SYSTEM, XCOMPOSER2_CHAT, ImageView, Turn
from ixc.errors import SettingsError
from ixc.imaging.decode import DecodedImage
from ixc.models.xcomposer2 import XComposer2ImageProcessor, XComposer2Processor
from ixc.serving.vllm.tokenizer import InternLM2Tokenizer
from tests.checkpoints import TOKENIZER_FILE, real_tokenizer

NATIVE = XComposer2Processor(XComposer2ImageProcessor(), real_tokenizer())
VLLM = InternLM2Tokenizer(str(TOKENIZER_FILE))
WORDS = st.sampled_from(["sign", " 4K ", "读", "{text}", "\n", "[UNUSED_TOKEN_145]", "[UNUSED_[UNUSED_TOKEN_1]TOKEN_146]"])
SPECIALS = st.sampled_from(["<ImageHere>", "<s>", "</s>", "[UNUSED_TOKEN_144]", "<unk>", "system\n"])
TEXTS = st.lists(st.one_of(WORDS, SPECIALS, st.text(max_size=4)), max_size=6).map("".join)
TURNS = st.lists(st.tuples(TEXTS, st.integers(0, 2), TEXTS), max_size=3)


IMAGE = DecodedImage.from_pixels(np.zeros((40, 60, 3), np.uint8))


def native_ids(system: str, turns: list[tuple[str, int, str]]) -> list[int]:
    """By the engine's own path, one placeholder for each image's tokens."""
    views = [tuple(ImageView(f"{turn}-{n}", 1) for n in range(num)) for turn, (_, num, _) in enumerate(turns)]
    asked = [Turn(q, a, v[0] if v else None, v[1:]) for (q, _, a), v in zip(turns, views, strict=True)]
    *past, now = asked
    prompt = XCOMPOSER2_CHAT.build_prompt(system, past, now.question, now.view, now.more_views)
    segments = encode_prompt(prompt, {view.image_id: IMAGE for group in views for view in group}, NATIVE).segments
    ids: list[int] = []
    for segment in segments:
        assert isinstance(segment, (ImageSegment, TextSegment))
        ids += segment.ids if isinstance(segment, TextSegment) else [NATIVE.image_token_id]
    return ids


def messages_of(system: str | None, turns: list[tuple[str, int, str]]) -> list[dict]:
    messages = [] if system is None else [{"role": "system", "content": system}]
    for question, num_images, answer in turns:
        parts = [{"type": "text", "text": question}, *[{"type": "image"}] * num_images]  # images behind: they are moved
        messages += [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
    return messages[:-1]


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.none(), TEXTS), TURNS, TEXTS, st.integers(0, 2))
def test_messages_become_the_engines_tokens(system, turns, question, num_images):
    turns = [*turns, (question, num_images, "")]
    expected = native_ids(DEFAULT_SYSTEM if system is None else XCOMPOSER2_CHAT.clean(system), turns)
    assert VLLM.apply_chat_template(messages_of(system, turns)) == expected


def test_a_greeting_answers_an_empty_question():
    messages = messages_of("Be brief.", [("", 0, "Hello."), ("What?", 1, "")])
    assert messages.pop(1)["role"] == "user"
    assert VLLM.apply_chat_template(messages) == native_ids("Be brief.", [("", 0, "Hello."), ("What?", 1, "")])


def test_a_plain_text_with_markers_is_read_like_the_processor_does():
    text = "Here <ImageHere> and <ImageHere>there"
    parts = [NATIVE.tokenizer(part)["input_ids"] for part in ("Here ", " and ", "there")]
    image = [NATIVE.image_token_id]
    assert VLLM.encode(text, add_special_tokens=False) == [*parts[0], *image, *parts[1], *image, *parts[2]]
    assert VLLM(text)["input_ids"] == VLLM.encode(text)
    assert VLLM("no image")["input_ids"] == NATIVE.tokenizer("no image")["input_ids"]


def test_what_ends_an_answer_and_the_systems_word_come_from_the_checkpoint(tmp_path):
    assert VLLM.convert_ids_to_tokens(VLLM.eos_token_id) == "[UNUSED_TOKEN_145]"
    (tmp_path / TOKENIZER_FILE.name).write_bytes(TOKENIZER_FILE.read_bytes())
    official = InternLM2Tokenizer.from_pretrained(str(tmp_path))
    assert official.default_system == DEFAULT_SYSTEM
    NATIVE.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "processor_config.json").read_text()) | {"default_system": ""}
    (tmp_path / "processor_config.json").write_text(json.dumps(config))
    ours = InternLM2Tokenizer.from_pretrained(str(tmp_path))
    assert ours.apply_chat_template([{"role": "user", "content": "Hi"}]) == native_ids("", [("Hi", 0, "")])


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "system", "content": "x"}],
        [{"role": "assistant", "content": "x"}] * 2 + [{"role": "user", "content": "x"}],
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}],
        [{"role": "system", "content": [{"type": "image"}]}, {"role": "user", "content": "x"}],
        [{"role": "tool", "content": "x"}, {"role": "user", "content": "x"}],
    ],
)
def test_other_conversations_are_refused_in_a_sentence(messages):
    with pytest.raises(SettingsError, match=r"^(Every|The last) message .*\.$"):
        VLLM.apply_chat_template(messages)


@pytest.mark.parametrize("option", [{"tools": [{}]}, {"add_generation_prompt": False}])
def test_what_the_model_was_not_trained_for_is_refused(option):
    with pytest.raises(SettingsError, match="leave"):
        VLLM.apply_chat_template([{"role": "user", "content": "Hi"}], **option)
