"""The in-place cache against transformers' DynamicCache as oracle."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from ixc.chat.kv_cache import InPlaceCache


@settings(deadline=None)
@given(st.integers(1, 12), st.lists(st.one_of(st.integers(1, 6), st.integers(-6, -1), st.just(0)), max_size=12))
def test_same_contents_as_dynamic_cache(capacity, operations):
    """Positive: append so many positions; negative: cut so many off; zero: give spare capacity back."""
    ours, oracle = InPlaceCache(num_layers=2, capacity=capacity), DynamicCache()
    for step, operation in enumerate(operations):
        if operation > 0:
            for layer in range(2):
                keys = torch.full((1, 2, operation, 3), float(step * 10 + layer))
                got = ours.update(keys, -keys, layer)
                expected = oracle.update(keys, -keys, layer)
                assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
        elif operation < 0:
            keep = max(ours.length + operation, 0)
            oracle.crop(keep - ours.length) if ours.length else None
            ours.truncate(keep)
        else:
            ours.shrink_to_fit()
            assert ours.num_bytes == 2 * 2 * 2 * ours.length * 3 * 4 or not ours.layers[0].is_initialized
        assert ours.length == ours.get_seq_length() == oracle.get_seq_length()


def test_repeated_for_beams_is_a_copy():
    cache = InPlaceCache(1, 8)
    keys = torch.arange(6.0).view(1, 1, 3, 2)
    cache.update(keys, keys, 0)
    beams = cache.repeated(3)
    assert beams.get_seq_length() == 3
    assert torch.equal(beams.layers[0].keys, keys.expand(3, 1, 3, 2))
    beams.layers[0].keys.zero_()
    assert cache.layers[0].keys[0, 0, 2, 1] == 5
