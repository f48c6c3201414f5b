"""An image's token sequence without one of its parts, to see what that is good for: the paper's ablations."""

from __future__ import annotations

import numpy as np

from ixc.tiling import TOKENS_PER_SIDE, Grid
from ixc.training.pointers import NOWHERE, Places

NOTHING, NEWLINE, GLOBAL_VIEW = "", "newline", "global view"
PARTS = (NOTHING, NEWLINE, GLOBAL_VIEW)
_GLOBAL_TOKENS = TOKENS_PER_SIDE * (TOKENS_PER_SIDE + 1)


def kept_tokens(grid: Grid, without: str) -> np.ndarray:
    """Which visual tokens of an image cut into ``grid`` stay: bool [num_visual_tokens].

    Without the global view the separator goes with it. Raises ValueError for an unknown part.
    """
    if without not in PARTS:
        raise ValueError(f"there is no part {without!r} to leave out, only {PARTS[1:]}")
    rows, cols = grid.rows * TOKENS_PER_SIDE, grid.cols * TOKENS_PER_SIDE
    global_N, local_N = np.ones(_GLOBAL_TOKENS, bool), np.ones(rows * (cols + 1), bool)
    if without == NEWLINE:
        global_N[TOKENS_PER_SIDE :: TOKENS_PER_SIDE + 1] = False
        local_N[cols :: cols + 1] = False
    has_global = without != GLOBAL_VIEW
    return np.concatenate((global_N & has_global, [has_global], local_N))


def places_among(kept_N: np.ndarray, places: Places) -> Places:
    """Places counted among the tokens that stay."""
    new_index = np.append(np.where(kept_N, np.cumsum(kept_N) - 1, NOWHERE), NOWHERE)
    return Places(new_index[places.tokens], places.slots)
