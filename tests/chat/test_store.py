import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ixc.chat.memory import bounded_cache
from ixc.chat.store import CacheStore
from ixc.settings import CacheLimits


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_a_gpu_keeps_what_half_of_its_free_memory_holds_unless_it_is_told(monkeypatch):
    """1.18 GB for a conversation about an image of 55 tiles in the 7B: 2 GB would hold one, whatever the GPU."""
    gpu, free = torch.device("cuda"), {"bytes": 60 * 10**9}
    monkeypatch.setattr("ixc.chat.memory.free_memory_bytes", lambda device: free["bytes"])
    assert bounded_cache(CacheLimits(max_age_s=7), gpu) == CacheLimits(max_bytes=30 * 10**9, max_age_s=7)
    assert bounded_cache(CacheLimits(max_bytes=0), gpu).max_bytes == 0
    assert bounded_cache(CacheLimits(max_bytes=5), gpu).max_bytes == 5
    assert bounded_cache(CacheLimits(), torch.device("cpu")).max_bytes == 2048 * 1024**2
    free["bytes"] = 10**9
    assert bounded_cache(CacheLimits(), gpu).max_bytes == 2048 * 1024**2


def test_least_recently_used_goes_first_when_bytes_run_out(clock):
    store = CacheStore(CacheLimits(max_bytes=100), clock)
    store.put("a", "x", 1, 40)
    store.put("b", "x", 2, 40)
    assert store.get("a", "x") == 1
    store.put("c", "x", 3, 40)
    assert store.get("b", "x") is None
    assert (store.get("a", "x"), store.get("c", "x")) == (1, 3)


def test_a_value_larger_than_the_limit_is_not_kept(clock):
    store = CacheStore(CacheLimits(max_bytes=100), clock)
    store.put("a", "x", 1, 101)
    assert store.report() == {"sessions": 0, "entries": 0, "bytes": 0}


def test_a_value_larger_than_the_limit_costs_others_nothing_but_what_it_was_to_replace(clock):
    store = CacheStore(CacheLimits(max_bytes=100), clock)
    for session in "abcde":
        store.put(session, "x", session, 10)
    store.put("f", "x", "large", 101)
    assert store.report() == {"sessions": 5, "entries": 5, "bytes": 50}
    store.put("a", "x", "large", 101)  # what stood there would be out of date
    assert [store.get(session, "x") for session in "abcdef"] == [None, "b", "c", "d", "e", None]


def test_old_values_expire_and_use_keeps_them_young(clock):
    store = CacheStore(CacheLimits(max_age_s=10), clock)
    store.put("a", "used", 1, 1)
    store.put("a", "unused", 2, 1)
    clock.now_s = 8
    assert store.get("a", "used") == 1
    clock.now_s = 12
    store.expire()
    assert store.report()["entries"] == 1
    assert store.get("a", "used") == 1


def test_sessions_beyond_the_limit_go_whole(clock):
    store = CacheStore(CacheLimits(max_sessions=2), clock)
    for session in "abc":
        store.put(session, "x", session, 1)
        store.put(session, "y", session, 1)
    assert store.report() == {"sessions": 2, "entries": 4, "bytes": 4}
    assert store.get("a", "x") is None


def test_the_session_that_goes_is_the_idlest_whatever_old_entries_another_has(clock):
    """Who changed the image leaves the old one's entry behind, and may have asked a second ago."""
    store = CacheStore(CacheLimits(max_sessions=3), clock)
    for session, key in (("busy", "the image before"), ("idle", "x"), ("other", "x"), ("busy", "x"), ("new", "x")):
        store.put(session, key, session, 1)
    assert [store.get(session, "x") for session in ("busy", "idle", "other", "new")] == ["busy", None, "other", "new"]


def test_room_is_made_by_what_was_used_longest_ago_but_not_by_ones_own(clock):
    store = CacheStore(CacheLimits(), clock)
    for session in "abc":
        store.put(session, "x", session, 40)
    store.get("a", "x")
    assert store.bytes_of_others("b") == 80
    assert store.free(50, except_session="b") == 80
    assert store.bytes_of_others("b") == 0
    assert store.report() == {"sessions": 1, "entries": 1, "bytes": 40}
    assert store.free(1, except_session="b") == 0
    assert store.free(float("inf")) == 40


def test_take_removes_and_forget_drops_one_session_only(clock):
    store = CacheStore(CacheLimits(), clock)
    store.put("a", "x", 1, 1)
    assert store.take("a", "x") == 1
    assert store.take("a", "x") is None
    store.put("a", "x", 1, 1)
    store.put("b", "x", 2, 1)
    store.forget("a")
    assert store.get("a", "x") is None
    assert store.get("b", "x") == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 60))))
def test_never_more_than_the_limits(puts):
    store = CacheStore(CacheLimits(max_bytes=100, max_sessions=2))
    held = {}
    for session, key, num_bytes in puts:
        store.put(session, key, (session, key), num_bytes)
        held[session, key] = num_bytes
        report = store.report()
        assert report["bytes"] <= 100
        assert report["sessions"] <= 2
        assert store.get(session, key) in (None, (session, key))


def test_what_was_used_lately_is_spared_where_asked(clock):
    store = CacheStore(CacheLimits(max_bytes=100, max_sessions=2), clock)
    assert store.put("a", "x", 1, 60)
    clock.now_s = 10
    assert not store.put("b", "x", 2, 60, spared_s=20)
    assert store.get("a", "x") == 1
    assert store.put("b", "x", 2, 30, spared_s=20)
    assert not store.put("c", "x", 3, 1, spared_s=20), "two sessions at most"
    clock.now_s = 31
    assert store.put("c", "x", 3, 60, spared_s=20)
    assert store.get("a", "x") is None
    assert store.put("a", "x", 1, 60), "a question asks for no such thing"
