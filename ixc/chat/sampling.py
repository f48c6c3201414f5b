"""The next token from logits, with the reference's settings (``chat`` of the official code)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ixc.settings import GenerationSettings

REFERENCE_TOP_K = 50
"""The official ``chat`` sets no top-k, so that transformers' default applied to it when sampling."""


class TokenSampler:
    """Chooses tokens for one answer.

    The repetition penalty sees ``penalised_ids`` and what is sampled: generated tokens only for prompts with images, the whole
    prompt for text alone (reference quirk: inputs_embeds carry no ids).
    """

    def __init__(self, settings: GenerationSettings, penalised_ids: Sequence[int], device: torch.device) -> None:
        self._seen_ids = list(penalised_ids)
        self._is_greedy = settings.is_greedy
        self._device = device
        self._processors = LogitsProcessorList()
        if settings.repetition_penalty != 1.0:
            self._processors.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
        if not self._is_greedy:
            self._processors.append(TemperatureLogitsWarper(float(settings.temperature)))
            self._processors.append(TopKLogitsWarper(REFERENCE_TOP_K))
            self._processors.append(TopPLogitsWarper(settings.top_p))
        self._generator = torch.Generator(device)
        if settings.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(settings.seed)

    def next_token(self, logits_V: Tensor) -> int:
        """One id from float32 logits [V]."""
        scores_1V = logits_V[None]
        if len(self._processors):
            seen_1S = torch.tensor([self._seen_ids], dtype=torch.long, device=self._device)
            scores_1V = self._processors(seen_1S, scores_1V)
        if self._is_greedy:
            token_id = int(scores_1V.argmax(-1))
        else:
            token_id = int(torch.multinomial(scores_1V.softmax(-1), 1, generator=self._generator))
        self._seen_ids.append(token_id)
        return token_id
