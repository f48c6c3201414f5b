"""What a view is expected to cost: counted by hand where it can be, sane where it is measured."""

import pytest

from ixc.chat.costs import CostModel
from ixc.tiling import SizePx, plan_tiles
from tests.checkpoints import tiny_model


@pytest.fixture
def costs():
    return CostModel(tiny_model(), prefill_chunk_tokens=64, views_per_pass=4)


def test_keys_and_values_are_counted_exactly(costs):
    """By hand, tiny model: 2 layers x (k and v) x 2 heads x 24 numbers x 4 bytes = 768 bytes a text token, and with a full
    chunk of 64 before it one more byte for each of the chunk's rows of the mask."""
    assert costs.memory_bytes(1001, 0, 0) - costs.memory_bytes(1000, 0, 0) == 768 + 64


def test_the_answer_takes_the_room_that_the_prompt_leaves_in_the_cache(costs):
    alone = costs.memory_bytes(1000, 0, 0, num_cached=900, capacity=1100)
    assert costs.memory_bytes(1000, 0, 0, num_cached=900, capacity=1100, num_answer_tokens=100) == alone
    assert costs.memory_bytes(1000, 0, 0, num_cached=900, capacity=1100, num_answer_tokens=256) == alone + 156 * 768


def test_the_estimate_counts_the_room_that_a_new_cache_has_for_the_answer(costs):
    plan = plan_tiles(SizePx(120, 200), 4)
    prompt_only = costs.memory_bytes(plan.num_visual_tokens + 20, plan.num_visual_tokens, plan.num_tiles)
    assert costs.estimate(plan, 20).memory_bytes == prompt_only + 256 * 768


def test_more_tiles_cost_more(costs):
    plans = [plan_tiles(SizePx(2160, 3840), budget) for budget in (1, 9, 25, 55)]
    estimates = [costs.estimate(plan, 20) for plan in plans]
    assert all(estimate.time_to_first_token_ms is None for estimate in estimates), "nothing was measured yet"
    costs.measure(tiny_model())
    estimates = [costs.estimate(plan, 20) for plan in plans]
    for kind in ("memory_bytes", "time_to_first_token_ms"):
        values = [getattr(estimate, kind) for estimate in estimates]
        assert values == sorted(values)
        assert len(set(values)) == len(values)


def test_answers_correct_the_estimate_but_one_slow_moment_does_not_spoil_it(costs):
    costs.measure(tiny_model())
    plan = plan_tiles(SizePx(120, 200), 9)
    first = costs.estimate(plan, 20).time_to_first_token_ms
    num_tokens = plan.num_visual_tokens + 20
    for _ in range(40):
        costs.observe(plan.num_views, num_tokens, 2 * first)
    assert costs.estimate(plan, 20).time_to_first_token_ms == pytest.approx(2 * first, rel=0.01)
    costs.observe(plan.num_views, num_tokens, 1000 * first)
    assert costs.estimate(plan, 20).time_to_first_token_ms < 3 * first
