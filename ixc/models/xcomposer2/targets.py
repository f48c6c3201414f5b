"""Which tokens of a conversation carry loss where the released code trains: labels for whoever tunes these weights further.

``ixc/training`` sets its own labels, lesson by lesson. Semantics: reference/ixc2_4khd/README.md, "Training targets".
"""

from __future__ import annotations

from collections.abc import Sequence

from ixc.conversation import TURN_END, TURN_START
from ixc.models.xcomposer2.tokenization import InternLM2Tokenizer

IGNORE_INDEX = -100
"""Label of a position without loss; PyTorch's cross-entropy default."""


def training_targets(token_ids: Sequence[int], tokenizer: InternLM2Tokenizer) -> list[int]:
    """Labels for a tokenized conversation: each answer with its end-of-turn token, and what follows the last one up to EOS.

    Questions, system text and the line break between turns are masked, and so is everything after the first EOS.
    """
    opening = tokenizer(f"{TURN_END}\n{TURN_START}assistant\n", add_special_tokens=False)["input_ids"]
    turn_end = tokenizer.convert_tokens_to_ids(TURN_END)
    ids = list(token_ids)
    labels = [IGNORE_INDEX] * len(ids)
    answer_start, after_last_answer = None, len(ids)
    position = 0
    while position < len(ids):
        if ids[position : position + len(opening)] == opening:
            position += len(opening)
            answer_start = position
        elif answer_start is not None and ids[position] == turn_end:
            labels[answer_start : position + 1] = ids[answer_start : position + 1]
            answer_start, after_last_answer = None, position + 1
            position += 1
        else:
            position += 1
    labels[after_last_answer:] = ids[after_last_answer:]
    if tokenizer.eos_token_id in ids:
        after_eos = ids.index(tokenizer.eos_token_id) + 1
        labels[after_eos:] = [IGNORE_INDEX] * (len(ids) - after_eos)
    return labels
