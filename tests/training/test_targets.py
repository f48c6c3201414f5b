"""What each visual token should say, by brute force, and whether the codebook can be read back."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ixc.tiling import SizePx, plan_tiles
from ixc.training.cells import EMPTY, IGNORED, cell_targets, classes_of, patch_targets, view_boxes
from ixc.training.codebook import Codebook
from ixc.training.wording import CHARACTERS

boxes = st.lists(
    st.tuples(st.floats(-30, 360), st.floats(-30, 360), st.floats(1, 60), st.floats(1, 60)), min_size=1, max_size=25
)


def as_boxes(drawn):
    return np.array([(x, y, x + w, y + h) for x, y, w, h in drawn], np.float32)


@given(boxes)
def test_cells_hold_the_characters_whose_centres_lie_in_them(drawn):
    """Oracle: a dictionary filled one character after the other."""
    found = as_boxes(drawn)
    text = (CHARACTERS * 2)[: len(found)]
    cells = {}
    for char, (left, top, right, bottom) in zip(text, found, strict=True):
        place = int(np.floor((top + bottom) / 2 / 28)), int(np.floor((left + right) / 2 / 28))
        cells.setdefault(place, []).append(CHARACTERS.index(char) + 1)
    targets = cell_targets(text, found, 3, 12, 12)
    for row in range(12):
        for col in range(12):
            inside = cells.get((row, col), [])
            expected = [IGNORED] * 3 if len(inside) > 3 else inside + [EMPTY] * (3 - len(inside))
            assert targets[row, col].tolist() == expected


@given(boxes)
def test_patches_show_the_character_whose_grown_box_they_lie_deepest_in(drawn):
    found = as_boxes(drawn)
    text = (CHARACTERS * 2)[: len(found)]
    targets = patch_targets(text, found)
    for row, col in ((0, 0), (5, 9), (12, 12), (23, 3), (17, 20)):
        y, x = row * 14 + 7, col * 14 + 7
        depths = [
            max(abs(y - (t + b) / 2) / ((b - t) / 2 + 5), abs(x - (left + r) / 2) / ((r - left) / 2 + 4))
            for left, t, r, b in found.astype(np.float64)
        ]
        near = [classes_of(text)[i] for i, depth in enumerate(depths) if depth < min(depths) + 1e-5]
        if abs(min(depths) - 1) > 1e-5:
            assert targets[row, col] in (near if min(depths) < 1 else [EMPTY])


@given(st.integers(40, 900), st.integers(40, 900), st.sampled_from([1, 2, 4, 9, 16]))
def test_view_boxes_agree_with_the_plan(height, width, budget):
    """Oracle: the plan's own map from tokens back to rectangles of the image."""
    plan = plan_tiles(SizePx(height, width), budget)
    x, y = width * 0.37, height * 0.61
    views = view_boxes(np.array([[x - 2, y - 2, x + 2, y + 2]], np.float32), plan)
    assert len(views) == plan.num_views
    seen = 0
    for view, box in enumerate(views):
        col, row = int((box[0, 0] + box[0, 2]) / 2 // 28), int((box[0, 1] + box[0, 3]) / 2 // 28)
        if not (0 <= col < 12 and 0 <= row < 12):
            continue
        seen += 1
        if view == 0:
            index = row * 13 + col
        else:
            tile_row, tile_col = divmod(view - 1, plan.grid.cols)
            index = plan.local_start + (tile_row * 12 + row) * plan.local_row_tokens + tile_col * 12 + col
        rect = plan.token_rect(index)
        assert rect.left - 0.5 <= x <= rect.right + 0.5
        assert rect.top - 0.5 <= y <= rect.bottom + 0.5
    assert seen == 2


def test_codes_can_be_read_back():
    book = Codebook(4, 192, seed=3)
    generator = np.random.default_rng(0)
    targets = np.zeros((500, 4), np.int64)
    for row in targets:
        count = generator.integers(0, 5)
        row[:count] = generator.integers(1, len(CHARACTERS) + 1, count)
    targets = torch.from_numpy(targets)
    tokens = book.embed(targets)
    assert (book.logits(tokens).argmax(-1) == targets).float().mean() > 0.995
    loss, metrics = book.loss(tokens, targets)
    assert metrics["characters_right"] > 0.99
    assert metrics["empty_right"] > 0.99
    worse, _ = book.loss(tokens + torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1)), targets)
    assert worse > loss


def test_ignored_cells_carry_no_loss():
    book = Codebook(2, 64, seed=0)
    tokens = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[5, 0], [IGNORED, IGNORED]])
    both, _ = book.loss(tokens, targets)
    alone, _ = book.loss(tokens[:1], targets[:1])
    assert torch.allclose(both, alone)
