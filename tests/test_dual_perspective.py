"""The dual-perspective plan against figures worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixc.dual_perspective import DualPerspectivePlan, plan_dual_perspective
from ixc.tiling import PaddingPx, RectPx, SizePx

SIDES = st.integers(1, 6000)


def test_a_wide_image_is_padded_above_and_below():
    plan = DualPerspectivePlan(SizePx(200, 301), 1008)
    assert plan.square_original_px == 301
    assert plan.padding_original_px == PaddingPx(0, 50, 0, 51)
    assert plan.padding_share == pytest.approx(101 / 301)
    assert plan.num_visual_tokens == 576


def test_blocks_of_a_square_image_are_its_ninths():
    plan = DualPerspectivePlan(SizePx(1008, 1008))
    assert plan.block_rect(0, 2) == RectPx(672, 0, 1008, 336)
    assert plan.block_rect(2, 0) == RectPx(0, 672, 336, 1008)


def test_a_block_of_padding_only_is_empty():
    assert DualPerspectivePlan(SizePx(100, 900)).block_rect(0, 1).is_empty


@pytest.mark.parametrize(("budget", "input_px"), [(1, 336), (8, 336), (9, 1008), (55, 1008)])
def test_a_budget_buys_the_largest_input_that_it_pays_for(budget, input_px):
    plan = plan_dual_perspective(SizePx(50, 60), budget)
    assert plan.input_px == input_px
    assert plan.max_patches <= budget


@given(height=SIDES, width=SIDES, input_px=st.sampled_from([336, 1008]))
def test_the_parts_add_up_to_the_image(height, width, input_px):
    plan = DualPerspectivePlan(SizePx(height, width), input_px)
    pad, resized = plan.padding_px, plan.resized_px
    assert min(pad.left, pad.top, pad.right, pad.bottom) >= 0
    assert pad.left + resized.width + pad.right == input_px == pad.top + resized.height + pad.bottom
    rects = [plan.block_rect(row, col) for row in range(3) for col in range(3)]
    assert sum((r.right - r.left) * (r.bottom - r.top) for r in rects) == pytest.approx(height * width, rel=1e-6)


@pytest.mark.parametrize(("row", "col"), [(3, 0), (0, 3), (-1, 0)])
def test_what_is_outside_is_an_index_error(row, col):
    with pytest.raises(IndexError):
        DualPerspectivePlan(SizePx(5, 5)).block_rect(row, col)


def test_other_inputs_and_budgets_are_refused():
    with pytest.raises(ValueError, match="336 or 1008"):
        DualPerspectivePlan(SizePx(5, 5), 672)
    with pytest.raises(ValueError, match="at least 1"):
        plan_dual_perspective(SizePx(5, 5), 0)
