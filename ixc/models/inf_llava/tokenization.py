"""Llama 3's byte-level BPE tokenizer, read from a tokenizer.json."""

from __future__ import annotations

from functools import cached_property

from transformers import PreTrainedTokenizerFast


class Llama3Tokenizer(PreTrainedTokenizerFast):
    """Adds a BOS to every text, as the file's own post-processor says, and tells the bytes of single tokens for streaming."""

    def token_bytes(self, token_id: int) -> bytes:
        """What one id adds to a text, as UTF-8: maybe part of a character; nothing for special tokens and unknown ids."""
        token = self.convert_ids_to_tokens(token_id)
        if token is None or token_id in self.all_special_ids or token_id in self.added_tokens_decoder:
            return b""
        return bytes(self._byte_of_letter[letter] for letter in token)

    @cached_property
    def _byte_of_letter(self) -> dict[str, int]:
        return {letter: byte for byte, letter in enumerate(byte_letters())}


def byte_letters() -> list[str]:
    """The letter that byte-level BPE (GPT-2's table) shows for each byte: printable Latin-1 for itself, 256 on for the rest."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
