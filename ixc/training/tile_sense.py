"""Where in the grid a visual token with text stands: the language model is taught to work it out, while it trains.

The tower sees each tile alone and can only say where in its tile a token stands, so every twelfth column looks the same. A
model that had learned only from answers knew a token's tile column in 44 % of the cases (24 % by chance; a linear probe), and
confused the columns of wide tables. What tells them is the distance from the last newline. Taught about all tokens alike, most
of which are empty, it knew the column in 95 % of them, yet in 74 % of those with text, and where in their tile these stand it
had forgotten (36 %); so now it is taught both of those only. Training only: the heads are thrown away.
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
    """Row and column of the tile that each visual token of an image lies in, and its column there: int64 [N, 3].

    UNKNOWN for the global view, the separator and newlines.
    """
    tiles_N3 = np.full((plan.num_visual_tokens, 3), UNKNOWN)
    for tile in range(plan.num_tiles):
        place = np.minimum(divmod(tile, plan.grid.cols), MOST - 1)
        for tokens in plan.tile_token_ranges(tile):
            tiles_N3[tokens, :2] = place
            tiles_N3[tokens, 2] = range(TOKENS_PER_SIDE)
    return tiles_N3


def tiles_of_written(first_row: int, num_rows: int, num_cols: int) -> np.ndarray:
    """The same of some rows of all tiles' tokens, cut off after ``num_cols`` and ended by newlines: int64 [N, 3].

    Rows of tiles are counted from the first one shown: how many there were above it cannot be seen.
    """
    rows_N, cols_N = np.divmod(np.arange(num_rows * (num_cols + 1)), num_cols + 1)
    rows_N = (first_row + rows_N) // TOKENS_PER_SIDE - first_row // TOKENS_PER_SIDE
    tile_rows_N, tile_cols_N = (np.minimum(each, MOST - 1) for each in (rows_N, cols_N // TOKENS_PER_SIDE))
    tiles_N3 = np.stack((tile_rows_N, tile_cols_N, cols_N % TOKENS_PER_SIDE), axis=1)
    return np.where((cols_N == num_cols)[:, None], UNKNOWN, tiles_N3)


def only_with_text(tiles_N3: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The same, UNKNOWN but for these tokens, of which negative ones do not count."""
    known_N3, shown = np.full_like(tiles_N3, UNKNOWN), np.unique(tokens[tokens >= 0])
    known_N3[shown] = tiles_N3[shown]
    return known_N3


class TileSense(nn.Module):
    """Linear heads for the row and the column of the tile, and the column there, on hidden states of the language model.

    They are taken after the first of the layers that look up, so that the later one can go by what is known there.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rows = nn.Linear(width, MOST)
        self.cols = nn.Linear(width, MOST)
        self.places = nn.Linear(width, TOKENS_PER_SIDE)
        for head in (self.rows, self.cols, self.places):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def loss(self, hidden_BSD: Tensor, tiles_BS3: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy against the tiles, and the share of tokens whose row, column, and column in the tile is known."""
        is_known_BS = tiles_BS3[..., 0] != UNKNOWN
        loss, metrics = hidden_BSD.new_zeros((), dtype=torch.float32), {}
        if not is_known_BS.any():
            return loss, metrics
        hidden_MD, tiles_M3 = F.layer_norm(hidden_BSD[is_known_BS], hidden_BSD.shape[-1:]), tiles_BS3[is_known_BS]
        heads = (("tile_rows_right", self.rows), ("tile_cols_right", self.cols), ("places_right", self.places))
        for index, (name, head) in enumerate(heads):
            logits_MV = head(hidden_MD).float()
            loss = loss + F.cross_entropy(logits_MV, tiles_M3[:, index])
            metrics[name] = float((logits_MV.detach().argmax(-1) == tiles_M3[:, index]).float().mean())
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
