"""The least budget that cuts an image the same: by brute force over all budgets."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ixc.image_layout import DUAL_PERSPECTIVE, DYNAMIC_PARTITION, ImageLayout, LayoutKind
from ixc.tiling import SizePx, TilePlan

SIDES = st.integers(1, 6000)


def cut(layout, size_px, budget):
    plan = layout.plan(size_px, budget)
    return replace(plan, max_patches=1) if isinstance(plan, TilePlan) else plan


@given(SIDES, SIDES, st.integers(1, 64))
def test_of_all_budgets_that_cut_the_same_in_one_run_it_is_the_smallest(height, width, budget):
    size_px = SizePx(height, width)
    for layout in (DYNAMIC_PARTITION, DUAL_PERSPECTIVE, ImageLayout(LayoutKind.SINGLE_VIEW, 490)):
        least = layout.least_budget(size_px, budget)
        assert 1 <= least <= budget
        assert {cut(layout, size_px, each) for each in range(least, budget + 1)} == {cut(layout, size_px, budget)}
        assert least == 1 or cut(layout, size_px, least - 1) != cut(layout, size_px, budget)


def test_most_steps_of_the_slider_change_nothing_about_a_4k_image():
    size_px = SizePx(2160, 3840)
    assert len({DYNAMIC_PARTITION.least_budget(size_px, budget) for budget in range(1, 65)}) == 10
