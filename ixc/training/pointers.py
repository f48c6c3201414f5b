"""Where the characters of an answer stand in the picture: while the model says one, some of its heads are taught to look there.

Supervised attention (Mi et al., arXiv 1608.00112). Finding a value and following it character by character is the slowest thing
for a small model to learn from the answers alone, which only say afterwards that it looked at the wrong place. Training only:
the finished model attends as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ixc.tiling import TOKENS_PER_SIDE, TilePlan
from ixc.training.attention import Attended
from ixc.training.cells import Glyphs, cell_slots, map_glyphs, view_glyphs
from ixc.training.layout import Document, TextLine

NOWHERE = -1
_GLOBAL_ROW = TOKENS_PER_SIDE + 1
_FIRST_LOCAL = TOKENS_PER_SIDE * _GLOBAL_ROW + 1


@dataclass(frozen=True, slots=True)
class Places:
    """For each of N characters of a document the visual token that shows it and the slot there; int64 [N], else NOWHERE."""

    tokens: np.ndarray
    slots: np.ndarray

    def of(self, glyphs: Sequence[int]) -> Places:
        """The places of these characters; NOWHERE stays NOWHERE."""
        chosen = np.asarray(glyphs, np.int64)
        tokens, slots = (np.append(each, NOWHERE)[chosen] for each in (self.tokens, self.slots))
        return Places(tokens, slots)


def visual_places(glyphs: Glyphs, plan: TilePlan, num_slots: int) -> Places:
    """Places in the token sequence of an image cut by ``plan``: in the tiles, or where not legible there, in the global view.

    ``glyphs`` are in the original image's pixels.
    """
    side, width = TOKENS_PER_SIDE, plan.grid.cols * TOKENS_PER_SIDE
    cells_N, slots_N = cell_slots(map_glyphs(glyphs, plan), num_slots, plan.grid.rows * side, width)
    globals_N, global_slots_N = cell_slots(view_glyphs(glyphs, plan)[0], num_slots, side, side)
    in_tiles_N = cells_N >= 0
    tokens_N = np.where(in_tiles_N, _FIRST_LOCAL + cells_N // width * (width + 1) + cells_N % width, NOWHERE)
    in_global_N = ~in_tiles_N & (globals_N >= 0)
    tokens_N = np.where(in_global_N, globals_N // side * _GLOBAL_ROW + globals_N % side, tokens_N)
    return Places(tokens_N, np.where(in_global_N, global_slots_N, slots_N))


def answer_glyphs(answer: str, document: Document, needed: Sequence[int]) -> list[int]:
    """For every character of ``answer`` the index of the document's character it is read from, or NOWHERE.

    ``needed`` are the indices of the lines that answer the question. An answer is made of whole lines of the document: the
    longest that fits comes first, of equal ones a needed one, then the one nearest in height to the last needed line.
    """
    lines = document.lines
    starts = np.cumsum([0, *(len(line.text) for line in lines)])
    found = [NOWHERE] * len(answer)
    if not needed:
        return found
    used: set[int] = set()
    height_px = lines[needed[-1]].baseline_px
    position = 0
    while position < len(answer):
        at_word = position == 0 or answer[position - 1] == " "
        fitting = [index for index in _lines_at(answer, position, lines) if index not in used] if at_word else []
        if not fitting:
            position += 1
            continue
        best = min(
            fitting,
            key=lambda index: (
                -len(lines[index].text),
                index not in needed,
                abs(lines[index].baseline_px - height_px),
                index,
            ),
        )
        used.add(best)
        if best in needed:
            height_px = lines[best].baseline_px
        length = len(lines[best].text)
        found[position : position + length] = range(starts[best], starts[best] + length)
        position += length
    return found


def _lines_at(answer: str, position: int, lines: Sequence[TextLine]) -> Iterator[int]:
    """Lines whose whole text stands in the answer at ``position``, as whole words."""
    for index, line in enumerate(lines):
        end = position + len(line.text)
        if line.text and answer.startswith(line.text, position) and (end == len(answer) or not answer[end].isalnum()):
            yield index


def pointing_loss(attended: Attended, tokens_BS: Tensor, heads_BS: Tensor, weights_BS: Tensor) -> tuple[Tensor, float | None]:
    """Weighted mean cross-entropy of one layer's attention against the places to look at, and the share that looks there most.

    ``tokens_BS`` and ``heads_BS``: for every token of the sequence which is read from the picture, the index in the sequence
    that shows it, and the head that should look there while the token *before* it is the last one known; else NOWHERE.
    """
    is_pointed_BS = tokens_BS >= 0
    counts = is_pointed_BS.sum(1).tolist()
    if not any(counts):
        return attended.query.new_zeros((), dtype=torch.float32), None
    rows_N, at_N = is_pointed_BS.nonzero(as_tuple=True)
    heads_N, targets_N, weights_N = (each[rows_N, at_N] for each in (heads_BS, tokens_BS, weights_BS))
    scores = []  # row by row, and without waiting for the device
    for row, (at_M, heads_M) in enumerate(zip(at_N.split(counts), heads_N.split(counts), strict=True)):
        scores_HMS = attended.query[row][heads_M, at_M - 1] @ attended.key[row].transpose(-1, -2)
        scores.append(scores_HMS[heads_M, torch.arange(len(at_M), device=at_M.device)].float())
    scores_NS = torch.cat(scores)
    is_later_NS = torch.arange(scores_NS.shape[1], device=at_N.device) >= at_N[:, None]
    scores_NS = scores_NS.masked_fill(is_later_NS, -torch.inf)
    losses_N = torch.nn.functional.cross_entropy(scores_NS, targets_N, reduction="none")
    num_right = int((scores_NS.detach().argmax(-1) == targets_N).sum())
    return (weights_N * losses_N).sum() / weights_N.sum(), num_right / len(targets_N)
