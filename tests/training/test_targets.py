"""What each visual token should say, by brute force, and whether the codebook can be read back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ixc.tiling import SizePx, plan_tiles
from ixc.training.cells import (
    EMPTY,
    HUGE_PX,
    IGNORED,
    LEGIBLE_PX,
    MARK,
    TINY,
    Glyphs,
    cell_targets,
    classes_of,
    mark_class,
    patch_targets,
    view_glyphs,
)
from ixc.training.codebook import Codebook
from ixc.training.wording import CHARACTERS

boxes = st.lists(
    st.tuples(st.floats(-30, 360), st.floats(-30, 360), st.floats(1, 60), st.floats(1, 60)), min_size=1, max_size=25
)


def as_boxes(drawn):
    return np.array([(x, y, x + w, y + h) for x, y, w, h in drawn], np.float32)


def glyphs_of(text, boxes, size=20.0):
    return Glyphs(classes_of(text), boxes, np.full((len(text), 2), size, np.float32))


@given(boxes)
def test_cells_hold_the_characters_whose_centres_lie_in_them(drawn):
    """Oracle: a dictionary filled one character after the other."""
    found = as_boxes(drawn)
    text = (CHARACTERS * 2)[: len(found)]
    cells = {}
    for char, (left, top, right, bottom) in zip(text, found, strict=True):
        place = int(np.floor((top + bottom) / 2 / 28)), int(np.floor((left + right) / 2 / 28))
        cells.setdefault(place, []).append(CHARACTERS.index(char) + 1)
    targets = cell_targets(glyphs_of(text, found), 3, 12, 12)
    for row in range(12):
        for col in range(12):
            inside = cells.get((row, col), [])
            expected = [IGNORED] * 3 if len(inside) > 3 else inside + [EMPTY] * (3 - len(inside))
            assert targets[row, col].tolist() == expected


@given(boxes)
def test_patches_show_the_character_whose_grown_box_they_lie_deepest_in(drawn):
    found = as_boxes(drawn)
    text = (CHARACTERS * 2)[: len(found)]
    targets = patch_targets(glyphs_of(text, found))
    for row, col in ((0, 0), (5, 9), (12, 12), (23, 3), (17, 20)):
        y, x = row * 14 + 7, col * 14 + 7
        depths = [
            max(abs(y - (t + b) / 2) / ((b - t) / 2 + 5), abs(x - (left + r) / 2) / ((r - left) / 2 + 4))
            for left, t, r, b in found.astype(np.float64)
        ]
        near = [classes_of(text)[i] for i, depth in enumerate(depths) if depth < min(depths) + 1e-5]
        if abs(min(depths) - 1) > 1e-5:
            assert targets[row, col] in (near if min(depths) < 1 else [EMPTY])


def test_a_character_too_large_for_its_cell_is_left_to_the_global_view():
    boxes_N4 = np.array([[10, 10, 20, 20], [38, 10, 48, 20]], np.float32)
    glyphs = Glyphs(classes_of("ab"), boxes_N4, np.array([[HUGE_PX - 1] * 2, [HUGE_PX + 1] * 2], np.float32))
    assert cell_targets(glyphs, 3, 12, 12)[0, :2, 0].tolist() == [*classes_of("a"), EMPTY]


def test_a_shape_too_large_for_a_tile_is_left_to_the_global_view():
    boxes_N4 = np.array([[10, 10, 20, 20], [38, 10, 48, 20]], np.float32)
    marks = np.array([mark_class("red", "circle"), mark_class("blue", "star")])
    glyphs = Glyphs(marks, boxes_N4, np.array([[HUGE_PX - 1] * 2, [HUGE_PX + 1] * 2], np.float32))
    assert cell_targets(glyphs, 3, 12, 12)[0, :2, 0].tolist() == [marks[0], EMPTY]


def test_a_missed_shape_counts_as_several_missed_characters():
    """Oracle: of two cells with something in them, what the loss gains when only the one or only the other is not told."""
    book = Codebook(3, 64)
    targets = torch.zeros(1, 12, 12, 3, dtype=torch.int64)
    targets[0, 0, 0, 0], targets[0, 5, 5, 0] = mark_class("red", "circle"), int(classes_of("a")[0])
    tokens = book.embed(targets)

    def loss_without(row, col, mark_weight):
        told = tokens.clone()
        told[0, row, col] = book.places_TTD[row, col]
        missed, _ = book.loss(told, targets, mark_weight)
        return float(missed - book.loss(tokens, targets, mark_weight)[0])

    apart = loss_without(0, 0, 1.0) / loss_without(5, 5, 1.0)  # random codes lie unequally far from nothing
    assert loss_without(0, 0, 6.0) / loss_without(5, 5, 6.0) == pytest.approx(6 * apart, rel=1e-3)


@given(st.integers(40, 900), st.integers(40, 900), st.sampled_from([1, 2, 4, 9, 16]))
def test_view_boxes_agree_with_the_plan(height, width, budget):
    """Oracle: the plan's own map from tokens back to rectangles of the image."""
    plan = plan_tiles(SizePx(height, width), budget)
    x, y = width * 0.37, height * 0.61
    glyphs = glyphs_of("a", np.array([[x - 2, y - 2, x + 2, y + 2]], np.float32))
    views = [each.boxes for each in view_glyphs(glyphs, plan)]
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


def test_text_too_small_to_read_says_how_small_it_is():
    """By hand: 14 px can be read; text that would have to be 1.2, 2, 3 and 5 times as large falls into classes of its own."""
    boxes_N4 = np.array([[28 * i + 10, 10, 28 * i + 14, 16] for i in range(6)], np.float32)
    sizes = LEGIBLE_PX / np.array([0.5, 1.0, 1.2, 2.0, 3.0, 5.0], np.float32)
    glyphs = Glyphs(classes_of("abcdef"), boxes_N4, np.stack((sizes, sizes * 9), 1))
    first_row = cell_targets(glyphs, 3, 12, 12)[0, :7, 0].tolist()
    assert first_row == [*classes_of("ab"), TINY, TINY + 1, TINY + 2, TINY + 3, EMPTY]
    halved = glyphs.placed(1, 1 / 20)  # squashed flat, as a global view may be: low letters cannot be read either
    assert not halved.is_legible.any()
    assert (patch_targets(halved) == EMPTY).all()


def test_every_coloured_shape_has_a_class_of_its_own():
    assert mark_class("red", "circle") == MARK
    assert len({mark_class(colour, form) for colour in ("red", "blue") for form in ("star", "square")}) == 4


def random_targets(num_views, num_slots, seed=0):
    generator = np.random.default_rng(seed)
    targets = np.zeros((num_views * 144, num_slots), np.int64)
    for row in targets:
        count = generator.integers(0, num_slots + 1)
        row[:count] = generator.integers(1, len(CHARACTERS) + 1, count)
    return torch.from_numpy(targets.reshape(num_views, 12, 12, num_slots))


def test_codes_can_be_read_back():
    book = Codebook(3, 192, seed=3)
    targets = random_targets(4, 3)
    tokens = book.embed(targets)
    assert (book.logits(tokens).argmax(-1) == targets).float().mean() > 0.995
    loss, metrics = book.loss(tokens, targets)
    assert metrics["characters_right"] > 0.99
    assert metrics["empty_right"] > 0.99
    worse, _ = book.loss(tokens + torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1)), targets)
    assert worse > loss


def test_codes_tell_rows_and_columns_apart():
    """Of two cells with the same contents the nearest place code is their own."""
    book = Codebook(3, 192, seed=3)
    places_PD = book.embed(torch.zeros(1, 12, 12, 3, dtype=torch.long)).flatten(0, 2)
    noisy_PD = places_PD + 0.15 * torch.randn(places_PD.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.cdist(noisy_PD, places_PD).argmin(1), torch.arange(144))


def test_tokens_that_do_not_say_where_they_stand_cost_the_more_the_less_they_say():
    """Oracle: 1 minus the squared shortfall, of waves scaled by hand; characters as they were."""
    book = Codebook(3, 192, seed=3)
    targets = random_targets(2, 3)
    losses = []
    for share in (1.0, 0.5, 0.0):
        loss, metrics = book.loss(book.embed(targets) - (1 - share) * (book.places_TTD * (book.places_TTD != 2.0)), targets)
        assert metrics["places_said"] == pytest.approx(1 - (1 - share) ** 2, abs=1e-4)
        assert metrics["characters_right"] > 0.98
        losses.append(float(loss))
    assert losses == sorted(losses)
    assert losses[2] - losses[0] > 3


def test_ignored_cells_carry_no_character_loss():
    """However unlike its code a cell's characters are: ignored, only the distance is left, which grows with the square."""
    book = Codebook(3, 192, seed=0)
    targets = random_targets(1, 3)
    targets[0, 5, 5] = IGNORED
    tokens = book.embed(targets)
    whole, _ = book.loss(tokens, targets)
    tokens[0, 5, 5] += book.codes_KVD[0, 7] * 3
    changed, _ = book.loss(tokens, targets)
    assert changed == whole
