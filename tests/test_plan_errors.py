"""What a plan cannot be asked or made of, and that it cannot be changed."""

import dataclasses
import json
import math

import numpy as np
import pytest

from ixc.dual_perspective import plan_dual_perspective
from ixc.plan_facts import plan_facts
from ixc.tiling import Grid, SizePx, plan_tiles, suggest_max_patches


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5), (5, -1)])
def test_a_size_has_pixels(height, width):
    with pytest.raises(ValueError, match="at least one pixel"):
        SizePx(height, width)


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_is_positive(budget):
    with pytest.raises(ValueError, match="at least 1"):
        plan_tiles(SizePx(10, 10), budget)


NO_WHOLE_NUMBERS = [math.inf, math.nan, 9.0, 1.5, "9", None, True, np.True_, np.float32(9), 9j]


@pytest.mark.parametrize("value", NO_WHOLE_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    "plan",
    [
        lambda value: SizePx(value, 100),
        lambda value: SizePx(100, value),
        lambda value: plan_tiles(SizePx(100, 200), value),
        lambda value: plan_dual_perspective(SizePx(100, 200), value),
        lambda value: suggest_max_patches(SizePx(100, 200), value),
    ],
    ids=["height", "width", "budget", "dual-perspective budget", "limit"],
)
def test_pixels_and_budgets_are_whole_numbers(plan, value):
    """An infinite budget or side was once cut into tiles for ever."""
    with pytest.raises(ValueError, match="must be a whole number, not"):
        plan(value)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_suggestion_needs_a_budget_to_suggest(limit):
    with pytest.raises(ValueError, match="the limit must be at least 1"):
        suggest_max_patches(SizePx(100, 200), limit)


@pytest.mark.parametrize("kind", [np.uint16, np.int64])
@pytest.mark.parametrize("make", [plan_tiles, plan_dual_perspective])
def test_numpy_s_whole_numbers_make_the_same_plan_ready_for_json(kind, make):
    """16 bits would overflow in the plan's own arithmetic: it must not be done in them."""
    plan, expected = make(SizePx(kind(1600), kind(3840)), kind(55)), make(SizePx(1600, 3840), 55)
    assert plan == expected
    assert json.dumps(plan_facts(plan)) == json.dumps(plan_facts(expected))


@pytest.mark.parametrize("index", [-1, 313])
def test_tokens_outside_the_plan(index):
    plan = plan_tiles(SizePx(336, 336), 1)
    with pytest.raises(IndexError, match="0 to 312"):
        plan.token(index)
    with pytest.raises(IndexError, match="0 to 312"):
        plan.token_rect(index)


@pytest.mark.parametrize("tile", [-1, 4])
def test_tiles_outside_the_plan(tile):
    plan = plan_tiles(SizePx(336, 336), 4)
    for ask in (plan.tile_rect, plan.tile_token_ranges):
        with pytest.raises(IndexError, match="0 to 3"):
            ask(tile)


def test_a_plan_cannot_be_changed():
    plan = plan_tiles(SizePx(336, 336), 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.grid = Grid(1, 1)
    assert not hasattr(plan, "__dict__")
    assert plan == plan_tiles(SizePx(336, 336), 4)
    assert len({plan, plan_tiles(SizePx(336, 336), 4)}) == 1
