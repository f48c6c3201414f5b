"""The in-place cache against transformers' DynamicCache as oracle."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from ixc.chat.kv_cache import ANSWER_ROOM, InPlaceCache, InPlaceLayer
from tests.chat.conftest import GREEDY


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


def test_a_little_spare_room_stays_where_it_is():
    """A quarter more than is used is no reason to copy; more than that is given back whole."""
    for num_used, is_copied in ((80, False), (79, True)):
        cache = InPlaceCache(1, 100)
        keys = torch.arange(2.0 * num_used).view(1, 1, num_used, 2)
        cache.update(keys, keys, 0)
        place = cache.layers[0].keys.data_ptr()
        cache.shrink_to_fit(0.25)
        assert (cache.layers[0].keys.data_ptr() != place) is is_copied
        assert cache.num_bytes == 2 * 2 * 4 * (num_used if is_copied else 100)
        assert torch.equal(cache.layers[0].values[:, :, :num_used], keys)


def test_a_long_answer_takes_room_piece_by_piece():
    """Half as much again of a long prompt's cache would be gigabytes that nobody asked for."""
    cache, keys = InPlaceCache(1, 10_000), torch.zeros(1, 1, 10_000, 1)
    cache.update(keys, keys, 0)
    cache.update(keys[:, :, :1], keys[:, :, :1], 0)
    assert cache.capacity == 10_000 + ANSWER_ROOM
    cache.update(keys, keys, 0)
    assert cache.capacity == 20_001


def test_room_is_reserved_to_the_position_and_what_is_held_stays():
    cache, keys = InPlaceCache(1, 8), torch.arange(12.0).view(1, 1, 6, 2)
    cache.update(keys, -keys, 0)
    cache.reserve(20)
    assert cache.capacity == 20  # not half as much again
    cache.reserve(5)
    assert (cache.capacity, cache.length) == (20, 6)
    assert torch.equal(cache.layers[0].keys[:, :, :6], keys)
    assert torch.equal(cache.layers[0].values[:, :, :6], -keys)


def test_room_that_is_not_there_changes_nothing(monkeypatch):
    """The keys' copy fits, the values' does not."""
    cache, keys = InPlaceCache(1, 4), torch.arange(8.0).view(1, 1, 4, 2)
    cache.update(keys, -keys, 0)
    made = []

    def one_buffer(states, capacity):
        if made:
            raise torch.OutOfMemoryError("CUDA out of memory")
        made.append(states.new_empty(1, 1, capacity, 2))
        return made[0]

    with monkeypatch.context() as patched:
        patched.setattr("ixc.chat.kv_cache._buffer_like", one_buffer)
        with pytest.raises(torch.OutOfMemoryError):
            cache.reserve(20)
    assert (cache.capacity, cache.length) == (4, 4)
    assert cache.num_bytes == 2 * 4 * 2 * 4
    cache.update(keys, -keys, 0)
    assert torch.equal(cache.layers[0].values[:, :, :8], torch.cat((-keys, -keys), 2))


def test_a_follow_up_longer_than_the_room_that_is_kept_reserves_it_at_once(new_chat, monkeypatch):
    grown, grow = [], InPlaceLayer._grow
    chat = new_chat()
    chat.ask("What is this?")

    def note(layer, capacity):
        grown.append((layer.capacity, capacity))
        grow(layer, capacity)

    monkeypatch.setattr(InPlaceLayer, "_grow", note)
    num_tokens = chat.ask("word " * 1500).stats.num_prompt_tokens
    larger = {after for before, after in grown if after > before}
    assert larger == {num_tokens + ANSWER_ROOM}


def test_nothing_is_copied_while_an_ordinary_answer_is_streamed_or_a_second_one_follows(new_chat, landscape, monkeypatch):
    copied = []
    grow = InPlaceLayer._grow
    monkeypatch.setattr(InPlaceLayer, "_grow", lambda layer, capacity: (copied.append(capacity), grow(layer, capacity)))
    chat = new_chat(generation=replace(GREEDY, max_new_tokens=100))
    assert chat.ask("What is this?", landscape).stats.num_new_tokens == 100
    assert chat.ask("And this?").stats.num_cached_tokens > 757  # the image and more
    assert copied == []
