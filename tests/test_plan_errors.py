"""What a plan cannot be asked or made of, and that it cannot be changed."""

import dataclasses

import pytest

from ixc.tiling import Grid, SizePx, plan_tiles


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5), (5, -1)])
def test_a_size_has_pixels(height, width):
    with pytest.raises(ValueError, match="at least one pixel"):
        SizePx(height, width)


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_is_positive(budget):
    with pytest.raises(ValueError, match="at least 1"):
        plan_tiles(SizePx(10, 10), budget)


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
