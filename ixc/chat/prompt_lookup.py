"""Guessing the next tokens from the text so far: when the last few tokens stood there before, what followed may follow again.

Several guesses are checked in one pass of the model, which on most machines costs little more than one token. Each position's
token is chosen as without guesses, and a guess counts only when it is the token chosen, so the answer stays the same. Worth it
where answers repeat: tables, forms, quotations of earlier turns. Text inside an image cannot be looked up.
Source: A. Saxena, "Prompt lookup decoding" (2023); the check is speculative decoding's, arXiv 2211.17192, with certain drafts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

_NGRAM_SIZES = (3, 2)
"""Tokens that must agree, the longest tried first; one alone guesses wrong too often."""

_Token = int | None
"""None stands between pieces of text, for an image: nothing matches across it."""


class PromptLookup:
    """Drafts of up to ``max_tokens`` for one answer; ``pieces`` are the prompt's texts as token ids."""

    def __init__(self, pieces: Sequence[Sequence[int]], max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.num_drafted = 0
        self.num_accepted = 0
        self._ids: list[_Token] = []
        self._after: dict[tuple[_Token, ...], int] = {}
        """What each n-gram was followed by last: an index into the ids."""
        for piece in pieces:
            self._ids.append(None)
            self.extend(piece)

    def extend(self, ids: Sequence[int]) -> None:
        """Tokens that now follow the text."""
        for token_id in ids:
            for size in _NGRAM_SIZES:
                if len(self._ids) >= size:
                    self._after[tuple(self._ids[-size:])] = len(self._ids)
            self._ids.append(token_id)

    def draft(self, limit: int) -> list[int]:
        """At most ``limit`` tokens that may come next; often none."""
        limit = min(limit, self.max_tokens)
        for size in _NGRAM_SIZES:
            start = self._after.get(tuple(self._ids[-size:]))
            if start is not None:
                following = self._ids[start : start + max(limit, 0)]
                return following[: following.index(None)] if None in following else following
        return []


def decode_with_lookup(
    lookup: PromptLookup,
    first_id: int,
    run: Callable[[Sequence[int]], Tensor],
    choose: Callable[[Tensor], int],
    keep: Callable[[int], None],
) -> Iterator[int]:
    """Yields tokens from ``first_id`` on, without end.

    ``run`` takes ids to the logits after each, [n, V]; ``choose`` takes one row's to a token; ``keep`` is told how many of the
    ids that were run belong to the answer. What ``run`` stored for the others is to be forgotten.
    """
    lookup.extend((first_id,))
    yield first_id
    last_id = first_id
    while True:
        draft = lookup.draft(lookup.max_tokens)
        logits_NV = run([last_id, *draft])
        chosen: list[int] = []
        for row in range(len(draft) + 1):
            chosen.append(choose(logits_NV[row]))
            if row == len(draft) or chosen[row] != draft[row]:
                break
        keep(len(chosen))
        lookup.num_drafted += len(draft)
        lookup.num_accepted += len(chosen) - 1
        lookup.extend(chosen)
        yield from chosen
        last_id = chosen[-1]
