"""The small model's tokenizer: one piece per character, whole pieces for the prompt format, bytes for everything else."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece

from ixc.conversation import TURN_END, TURN_START
from ixc.out_files import write_whole
from ixc.training.wording import CHARACTERS

IMAGE_TOKEN = "[UNUSED_TOKEN_144]"  # noqa: S105 - a placeholder's name
ROLES = ("user\n", "assistant\n", "system\n")


def write_tokenizer_model(path: Path) -> None:
    """Write a SentencePiece file: ids 0 unknown, 1 and 2 the sequence's begin and end, then named pieces, bytes, characters.

    No merges: a model that copies characters from a picture has to see them one by one.
    """
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(CHARACTERS.replace(" ", ""))]),
        model_writer=buffer,
        model_type="bpe",
        vocab_size=600,
        hard_vocab_limit=False,
        max_sentencepiece_length=1,
        character_coverage=1.0,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=[IMAGE_TOKEN, TURN_END, TURN_START, *ROLES],
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    write_whole(path, buffer.getvalue())  # processes that train together all do: each reads a whole file, whoever's it is
