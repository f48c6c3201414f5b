"""InternLM2's SentencePiece tokenizer. Semantics and golden table: reference/tokenizer/README.md."""

from __future__ import annotations

from collections.abc import Sequence

import sentencepiece
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend


class InternLM2Tokenizer(SentencePieceBackend):
    """BPE over a ``tokenizer.model`` file; BOS in front of every text by default.

    The six extra tokens of the official repository (ids from 92544 on) lie beyond the embedding table and are not registered:
    such an id can never be fed to the model.
    """

    model_input_names = ("input_ids", "attention_mask")

    def __init__(
        self,
        vocab_file: str,
        bos_token: str = "<s>",
        eos_token: str = "</s>",
        unk_token: str = "<unk>",
        pad_token: str = "</s>",
        add_bos_token: bool = True,
        **kwargs: object,
    ) -> None:
        self.add_bos_token = add_bos_token
        sentencepiece.set_min_log_level(2)  # the released file has a NUL piece, which newer versions warn about on stderr
        for outside in ("added_tokens_decoder", "extra_special_tokens", "additional_special_tokens"):
            kwargs.pop(outside, None)
        super().__init__(
            vocab_file=vocab_file,
            bos_token=bos_token,
            eos_token=eos_token,
            unk_token=unk_token,
            pad_token=pad_token,
            add_bos_token=add_bos_token,
            **kwargs,
        )

    def build_inputs_with_special_tokens(self, token_ids_0: list[int], token_ids_1: list[int] | None = None) -> list[int]:
        """BOS before the text; a second text follows without one."""
        bos = [self.bos_token_id] if self.add_bos_token else []
        return bos + token_ids_0 + (token_ids_1 or [])

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Pieces to text; bytes are joined to characters.

        Quirk of the reference's slow class: a space stands before the first special token of each run.
        """
        text, pending, after_special = "", [], False
        for token in tokens:
            if token not in self.all_special_tokens:
                pending.append(token)
                after_special = False
                continue
            text += ("" if after_special else " ") + self.sp_model.decode(pending) + token
            pending, after_special = [], True
        return text + self.sp_model.decode(pending)

    def token_bytes(self, token_id: int) -> bytes:
        """What one id adds to a text, as UTF-8: part of a character for byte pieces, nothing for special tokens."""
        if token_id in self.all_special_ids:
            return b""
        piece = self.sp_model.id_to_piece(token_id)
        if self.sp_model.is_byte(token_id):
            return bytes([int(piece[1:-1], 16)])
        return piece.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()
