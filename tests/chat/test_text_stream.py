"""Text appears in whole characters, whatever the tokens' borders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixc.chat.text_stream import TextStream
from tests.checkpoints import real_tokenizer

TOKENIZER = real_tokenizer()


def stream(ids):
    text_stream = TextStream(TOKENIZER.token_bytes)
    return [*(text_stream.push(token_id) for token_id in ids), text_stream.finish()]


@pytest.mark.parametrize(
    "text",
    ["Hello world", "你好，世界！", "नमस्ते", "😀 ok 👨‍👩‍👧‍👦 🇨🇳", " two  spaces ", "a\n\tb", "中英mixed文本 with English"],
)
def test_latin_chinese_and_emoji(text):
    ids = TOKENIZER(text)["input_ids"]
    deltas = stream(ids)
    assert "".join(deltas) == text
    assert all("\ufffd" not in delta for delta in deltas)


@given(st.text(st.characters(exclude_categories=["Cs", "Co", "Cn"], exclude_characters="\0\ufffd\u2581")))
def test_any_text_survives_token_by_token(text):
    """But for U+2581, with which SentencePiece writes a space."""
    deltas = stream(TOKENIZER(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    assert "".join(deltas) == text
    assert all("\ufffd" not in delta for delta in deltas)


def test_an_unfinished_character_at_the_end_shows_once():
    ids = TOKENIZER("😀", add_special_tokens=False)["input_ids"]
    assert "".join(stream(ids[:-1])) == "\ufffd"
