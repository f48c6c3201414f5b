"""A fixed code for every character in every slot of a cell: what a visual token should say before any training.

Vision tower and language model meet in these codes. The tower learns to emit, for each 28x28 px cell, the sum of the codes
of the characters in it; the language model learns, without any picture, to read such sums. Both can thus be taught apart,
at the same time, and understand each other when they are put together. Joint training then moves freely away from them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ixc.training.cells import EMPTY, IGNORED, NUM_CLASSES

CODE_RMS = 0.5


class Codebook:
    """Codes for K slots x classes, D channels, fixed by a seed. An empty first slot has a code too; others are zero.

    Every slot has D/K channels of its own, and a character has the same random code there in each: what is learned of a
    character in one slot holds in all of them.

    ``margin`` is the logit of a character whose code is present exactly; half of it is the logit of "empty".
    """

    def __init__(self, num_slots: int, width: int, *, seed: int, margin: float = 12.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.num_slots = num_slots
        self.margin = margin
        share = width // num_slots
        codes_VD = CODE_RMS * torch.randn(NUM_CLASSES, share, generator=generator)
        self.codes_KVD = torch.zeros(num_slots, NUM_CLASSES, width)
        for slot in range(num_slots):
            self.codes_KVD[slot, :, slot * share : (slot + 1) * share] = codes_VD
        self.codes_KVD[1:, EMPTY] = 0
        self.newline_D = CODE_RMS * torch.randn(width, generator=generator)
        self.separator_D = CODE_RMS * torch.randn(width, generator=generator)
        self._scale = margin / (CODE_RMS**2 * share)

    def embed(self, targets: Tensor) -> Tensor:
        """Targets [..., K] -> the sum of their codes [..., D]. Ignored slots count as empty."""
        targets = targets.clamp(min=EMPTY)
        return sum(self.codes_KVD[slot][targets[..., slot]] for slot in range(self.num_slots))

    def logits(self, tokens: Tensor) -> Tensor:
        """Visual tokens [..., D] -> class logits per slot [..., K, V]."""
        logits = torch.einsum("...d,kvd->...kv", tokens, self.codes_KVD) * self._scale
        logits[..., 1:, EMPTY] = self.margin / 2
        return logits

    def loss(self, tokens: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of tokens [..., D] against targets [..., K], plus the distance to the codes themselves.

        Cells that hold a character weigh as much as all empty ones together. Also returns, for the log, the share of
        characters that are recognised and the share of empty slots that are seen as empty.
        """
        tokens, targets = tokens.float().flatten(0, -2), targets.flatten(0, -2)
        logits_NKV = self.logits(tokens)
        each_NK = F.cross_entropy(logits_NKV.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")
        is_written_N = (targets > EMPTY).any(-1)
        is_blank_N = ~is_written_N & (targets[:, 0] != IGNORED)
        distance_N = (tokens - self.embed(targets)).square().mean(-1) / CODE_RMS**2
        each_N = each_NK.sum(-1) + distance_N
        loss = _mean(each_N, is_written_N) + 0.5 * _mean(each_N, is_blank_N)
        with torch.no_grad():
            right = logits_NKV.argmax(-1) == targets
            metrics = {
                "characters_right": _mean(right.float(), targets > EMPTY).item(),
                "empty_right": _mean(right.float(), targets == EMPTY).item(),
            }
        return loss, metrics


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
