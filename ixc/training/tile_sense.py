"""Which tile of the grid a visual token lies in: the language model is taught to work it out, while it trains.

The tower sees each tile alone and can only say where in its tile a token stands, so every twelfth column looks the same. A
model that had learned only from answers knew a token's tile column in 44 % of the cases (24 % by chance; a linear probe), and
confused the columns of wide tables. What tells them is the distance from the last newline. Training only: the heads are thrown
away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ixc.tiling import TOKENS_PER_SIDE, TilePlan

MOST = 8
"""Rows and columns of tiles beyond this many count as the last one."""
UNKNOWN = -100


def tiles_of_tokens(plan: TilePlan) -> np.ndarray:
    """Row and column of the tile that each visual token of an image lies in: int64 [num_visual_tokens, 2].

    UNKNOWN for the global view, the separator and newlines.
    """
    tiles_N2 = np.full((plan.num_visual_tokens, 2), UNKNOWN)
    for tile in range(plan.num_tiles):
        place = np.minimum(divmod(tile, plan.grid.cols), MOST - 1)
        for tokens in plan.tile_token_ranges(tile):
            tiles_N2[tokens] = place
    return tiles_N2


def tiles_of_written(first_row: int, num_rows: int, num_cols: int) -> np.ndarray:
    """The same of some rows of all tiles' tokens, cut off after ``num_cols`` and ended by newlines: int64 [N, 2].

    Rows of tiles are counted from the first one shown: how many there were above it cannot be seen.
    """
    rows_N, cols_N = np.divmod(np.arange(num_rows * (num_cols + 1)), num_cols + 1)
    rows_N = (first_row + rows_N) // TOKENS_PER_SIDE - first_row // TOKENS_PER_SIDE
    tiles_N2 = np.minimum(np.stack((rows_N, cols_N // TOKENS_PER_SIDE), axis=1), MOST - 1)
    return np.where((cols_N == num_cols)[:, None], UNKNOWN, tiles_N2)


class TileSense(nn.Module):
    """Linear heads for the row and the column of the tile, on hidden states of the language model.

    They are taken after the first of the layers that look up, so that the later one can go by what is known there.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rows = nn.Linear(width, MOST)
        self.cols = nn.Linear(width, MOST)
        for head in (self.rows, self.cols):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def loss(self, hidden_BSD: Tensor, tiles_BS2: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy against the tiles, and the share of tokens whose row, and whose column, is known."""
        is_known_BS = tiles_BS2[..., 0] != UNKNOWN
        loss, metrics = hidden_BSD.new_zeros((), dtype=torch.float32), {}
        if not is_known_BS.any():
            return loss, metrics
        hidden_MD, tiles_M2 = F.layer_norm(hidden_BSD[is_known_BS], hidden_BSD.shape[-1:]), tiles_BS2[is_known_BS]
        for index, (name, head) in enumerate((("tile_rows_right", self.rows), ("tile_cols_right", self.cols))):
            logits_MV = head(hidden_MD).float()
            loss = loss + F.cross_entropy(logits_MV, tiles_M2[:, index])
            metrics[name] = float((logits_MV.detach().argmax(-1) == tiles_M2[:, index]).float().mean())
        return loss, metrics


@contextmanager
def hidden_after(model: nn.Module, layer: int) -> Iterator[list[Tensor]]:
    """Inside, the hidden states [B, S, D] after ``layer`` (or the last one there is) of every pass are appended to the list."""
    seen: list[Tensor] = []
    hook = model.layers[min(layer, len(model.layers) - 1)].register_forward_hook(
        lambda _module, _inputs, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    try:
        yield seen
    finally:
        hook.remove()
