"""The next token from logits, with the reference's settings (``chat`` of the official code).

Everything stays on the device: no step here waits for it, unless the caller asks for a number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ixc.settings import GenerationSettings

REFERENCE_TOP_K = 50
"""The official ``chat`` sets no top-k, so that transformers' default applied to it when sampling."""


class TokenSampler:
    """Chooses tokens for one answer.

    The repetition penalty sees ``penalised_ids`` and what is sampled: generated tokens only for prompts with images, the whole
    prompt for text alone (reference quirk: inputs_embeds carry no ids). Order as in transformers: penalty, temperature, top-k,
    top-p.
    """

    def __init__(self, settings: GenerationSettings, penalised_ids: Sequence[int], device: torch.device) -> None:
        self._settings = settings
        self._penalised_ids = torch.tensor(sorted(set(penalised_ids)), dtype=torch.long, device=device)
        self._is_seen_V: Tensor | None = None
        self._generator = torch.Generator(device)
        if settings.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(settings.seed)

    def next_token(self, logits_V: Tensor) -> int:
        """One id from float32 logits [V]."""
        return int(self.sample(logits_V))

    def sample(self, logits_V: Tensor) -> Tensor:
        """The same as a tensor [1] on the logits' device, without waiting for it."""
        penalty = self._settings.repetition_penalty
        scores_V = logits_V
        if penalty != 1.0:
            if self._is_seen_V is None:
                self._is_seen_V = torch.zeros(logits_V.shape, dtype=torch.bool, device=logits_V.device)
                self._is_seen_V[self._penalised_ids] = True
            penalised_V = torch.where(scores_V < 0, scores_V * penalty, scores_V / penalty)
            scores_V = torch.where(self._is_seen_V, penalised_V, scores_V)
        token_1 = scores_V.argmax(-1, keepdim=True) if self._settings.is_greedy else self._draw(scores_V)
        if self._is_seen_V is not None:
            self._is_seen_V.scatter_(0, token_1, True)
        return token_1

    def _draw(self, scores_V: Tensor) -> Tensor:
        """By temperature, top-k and top-p. The largest ``REFERENCE_TOP_K`` suffice: nothing else can be drawn."""
        scores_K, ids_K = (scores_V / self._settings.temperature).topk(min(REFERENCE_TOP_K, scores_V.numel()))
        probabilities_K = scores_K.softmax(-1)
        before_K = probabilities_K.cumsum(-1) - probabilities_K
        probabilities_K = probabilities_K.masked_fill(before_K >= self._settings.top_p, 0.0)  # never the first
        # The largest of p / Exp(1) is a draw from p; torch.multinomial does the same, but makes the host wait to check p.
        noise_K = torch.empty_like(probabilities_K).exponential_(generator=self._generator)
        return ids_K.gather(0, (probabilities_K / noise_K).argmax(-1, keepdim=True))


class TokenReader:
    """Brings a token to the host while the device goes on: what is queued between ``start`` and ``wait`` is not waited for."""

    def __init__(self, device: torch.device) -> None:
        is_cuda = device.type == "cuda"
        self._device = device
        self._token_1 = torch.zeros(1, dtype=torch.long, pin_memory=is_cuda)
        self._copied = torch.cuda.Event() if is_cuda else None

    def start(self, token_1: Tensor) -> None:
        """Queue the copy of a token [1]."""
        self._token_1.copy_(token_1, non_blocking=self._copied is not None)
        if self._copied is not None:
            self._copied.record(torch.cuda.current_stream(self._device))  # which need not be the current GPU

    def wait(self) -> int:
        """The token that ``start`` was given last."""
        if self._copied is not None:
            self._copied.synchronize()
        return int(self._token_1)
