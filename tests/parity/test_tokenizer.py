"""The tokenizer against the golden table made with the official slow class."""

import json

import pytest

from tests.checkpoints import DATA, real_tokenizer

TABLE = json.loads((DATA / "tokenizer" / "golden_tokenizer.json").read_text())


@pytest.fixture(scope="module", params=["constructed", "reloaded"])
def tokenizer(request, tmp_path_factory):
    tokenizer = real_tokenizer()
    if request.param == "reloaded":
        folder = tmp_path_factory.mktemp("tokenizer")
        tokenizer.save_pretrained(folder)
        tokenizer = type(tokenizer).from_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize("entry", TABLE["encode"], ids=lambda entry: repr(entry["text"])[:40])
def test_encode_and_decode(entry, tokenizer):
    ids = tokenizer(entry["text"])["input_ids"]
    assert ids == entry["ids"]
    assert tokenizer(entry["text"], add_special_tokens=False)["input_ids"] == entry["ids_no_bos"]
    assert tokenizer.tokenize(entry["text"]) == entry["pieces"]
    assert tokenizer.decode(ids) == entry["decoded"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == entry["decoded_skip_special"]


@pytest.mark.parametrize("entry", TABLE["decode"], ids=lambda entry: str(entry["ids"])[:40])
def test_decode(entry, tokenizer):
    assert tokenizer.decode(entry["ids"]) == entry["text"]
    assert tokenizer.decode(entry["ids"], skip_special_tokens=True) == entry["text_skip_special"]


def test_special_tokens_and_size(tokenizer):
    special = TABLE["special"]
    assert len(tokenizer) == tokenizer.vocab_size == special["vocab_size"]
    for name in ("bos", "eos", "pad", "unk"):
        assert getattr(tokenizer, f"{name}_token_id") == special[f"{name}_token_id"]
    for token in ("[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]", "[UNUSED_TOKEN_0]"):
        assert tokenizer.convert_tokens_to_ids(token) == special[token]


def test_ids_beyond_the_embedding_table_cannot_come_out(tokenizer):
    """The official repository's six extra tokens would get ids from 92544 on and crash the embedding."""
    for token in TABLE["added_tokens_json_of_the_hf_repo"]:
        assert max(tokenizer(token)["input_ids"]) < TABLE["special"]["vocab_size"]
    assert len(type(tokenizer)(tokenizer.vocab_file, additional_special_tokens=["<|im_start|>"])) == 92544


@pytest.mark.parametrize("entry", TABLE["encode"], ids=lambda entry: repr(entry["text"])[:40])
def test_bytes_of_single_ids_join_to_the_text(entry, tokenizer):
    joined = b"".join(tokenizer.token_bytes(token_id) for token_id in entry["ids"])
    assert joined.decode() == entry["decoded_skip_special"]
