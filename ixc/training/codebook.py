"""A fixed code for every character in every slot of a cell: what a visual token should say before any training.

Vision tower and language model meet in these codes. The tower learns to emit, for each 28x28 px cell, the sum of the codes
of the characters in it; the language model learns, without any picture, to read such sums. Both can thus be taught apart,
at the same time, and understand each other when they are put together. Joint training then moves freely away from them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ixc.tiling import TOKENS_PER_SIDE
from ixc.training.cells import EMPTY, IGNORED, MARK, NUM_CHARACTER_CLASSES, NUM_CLASSES

SHARED_SEED = 1
"""Of the codes in every run, whatever its documents: a model trained on goes on speaking the code it has learned."""
CODE_RMS = 0.5
PLACE_WEIGHT = 4.0
"""Weight of what is missing of the places (1: all of it) in the loss. Without it a tower lets them fade: it names characters as
well, but the language model, which follows columns and lines by them, points rightly 0.75 instead of 0.98 times."""
CONSTANT = 2.0
"""Value of the last channel of every code, and of every text embedding at first: a hold for heads that only look at places."""


class Codebook:
    """Codes for K slots x classes and for the place in the view, D channels, fixed by a seed.

    Every slot has D/(K+1) channels of its own, and a character has the same random code there in each: what is learned of a
    character in one slot holds in all of them. The last block of channels says in which row and column of its view a token
    stands, so that columns and lines can be followed; its last channel is constant. An empty first slot has a code too; other
    empty slots are zero.

    The codes lie in the memory of the CPU, where batches are made, and go to the device of whatever they are used with.

    ``margin`` is the logit of a character whose code is present exactly; half of it is the logit of "empty".
    """

    def __init__(self, num_slots: int, width: int, *, seed: int = SHARED_SEED, margin: float = 12.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.num_slots = num_slots
        self.margin = margin
        self.share = share = width // (num_slots + 1)
        characters_VD = CODE_RMS * torch.randn(NUM_CHARACTER_CLASSES, share, generator=generator)
        self.newline_D = CODE_RMS * torch.randn(width, generator=generator)
        self.separator_D = CODE_RMS * torch.randn(width, generator=generator)
        others_VD = CODE_RMS * torch.randn(NUM_CLASSES - NUM_CHARACTER_CLASSES, share, generator=generator)
        codes_VD = torch.cat((characters_VD, others_VD))
        self.codes_KVD = torch.zeros(num_slots, NUM_CLASSES, width)
        for slot in range(num_slots):
            self.codes_KVD[slot, :, slot * share : (slot + 1) * share] = codes_VD
        self.codes_KVD[1:, EMPTY] = 0
        self.places_TTD = torch.zeros(TOKENS_PER_SIDE, TOKENS_PER_SIDE, width)
        first = num_slots * share
        self._place_channels = slice(first, min(first + 4 * (share // 4), width - 1))  # the last channel is the constant
        self.places_TTD[..., num_slots * share : (num_slots + 1) * share] = _place_waves(share)
        for codes in (self.places_TTD, self.newline_D, self.separator_D):
            codes[..., -1] = CONSTANT
        self._scale = margin / (CODE_RMS**2 * share)

    def embed(self, targets: Tensor) -> Tensor:
        """Targets of views [..., 12, 12, K] -> their codes [..., 12, 12, D]. Ignored slots count as empty."""
        targets, codes_KVD = targets.clamp(min=EMPTY), self.codes_KVD.to(targets.device)
        places_TTD = self.places_TTD.to(targets.device)
        return sum((codes_KVD[slot][targets[..., slot]] for slot in range(self.num_slots)), start=places_TTD)

    def logits(self, tokens: Tensor) -> Tensor:
        """Visual tokens [..., D] -> class logits per slot [..., K, V]."""
        logits = torch.einsum("...d,kvd->...kv", tokens, self.codes_KVD.to(tokens.device)) * self._scale
        logits[..., 1:, EMPTY] = self.margin / 2
        return logits

    def loss(self, tokens: Tensor, targets: Tensor, mark_weight: float = 1.0) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of views' tokens [N, 12, 12, D] against targets [N, 12, 12, K], plus the distance to the codes.

        Cells that hold something weigh as much as all empty ones together; a coloured shape counts as ``mark_weight``
        characters. Also returns, for the log, the share of classes that are recognised, that of the coloured shapes among
        them, the share of empty slots that are seen as empty, and how much of the places is said.
        """
        missing = self._missing_of_places(tokens)
        distance_N = (tokens.float() - self.embed(targets)).square().mean(-1).flatten() / CODE_RMS**2
        tokens, targets = tokens.float().flatten(0, -2), targets.flatten(0, -2)
        logits_NKV = self.logits(tokens)
        each_NK = F.cross_entropy(logits_NKV.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")
        is_written_N = (targets > EMPTY).any(-1)
        is_blank_N = ~is_written_N & (targets[:, 0] != IGNORED)
        each_N = each_NK.sum(-1) + distance_N
        weights_N = is_written_N * torch.where(targets[:, 0] >= MARK, mark_weight, 1.0)
        loss = _mean(each_N, weights_N) + 0.5 * _mean(each_N, is_blank_N) + PLACE_WEIGHT * missing
        with torch.no_grad():
            right = logits_NKV.argmax(-1) == targets
            metrics = {
                "characters_right": _mean(right.float(), targets > EMPTY).item(),
                "empty_right": _mean(right.float(), targets == EMPTY).item(),
                "places_said": 1 - missing.item(),
            }
            if (is_mark_NK := targets >= MARK).any():
                metrics["marks_right"] = _mean(right.float(), is_mark_NK).item()
        return loss, metrics

    def _missing_of_places(self, tokens: Tensor) -> Tensor:
        """Mean squared distance of views' tokens [..., T, T, D] to the places, as a share of the waves' own power."""
        if self._place_channels.start == self._place_channels.stop:
            return tokens.new_zeros(())
        wanted = self.places_TTD[..., self._place_channels].to(tokens.device)
        return (tokens[..., self._place_channels].float() - wanted).square().mean() / wanted.square().mean()


def _place_waves(width: int) -> Tensor:
    """[12, 12, width]: sines and cosines of the row and of the column at ``width // 4`` rates each, zeros in what is left."""
    num_rates = width // 4
    rates = torch.logspace(math.log10(2 * math.pi / 3), math.log10(2 * math.pi / 24), max(num_rates, 1))[:num_rates]
    angles_TR = torch.arange(TOKENS_PER_SIDE).float()[:, None] * rates
    waves_TR = CODE_RMS * math.sqrt(2) * torch.cat((angles_TR.sin(), angles_TR.cos()), dim=1)
    side = (TOKENS_PER_SIDE, TOKENS_PER_SIDE, 2 * num_rates)
    rest = torch.zeros(TOKENS_PER_SIDE, TOKENS_PER_SIDE, width - 4 * num_rates)
    return torch.cat((waves_TR[:, None].expand(side), waves_TR[None].expand(side), rest), dim=-1)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
