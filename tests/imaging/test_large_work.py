"""Large pictures wait for each other, in the order in which they come, and keep nobody else waiting."""

import threading

import pytest

from ixc.errors import EngineBusy
from ixc.imaging.large_work import PixelTurns, turn_for
from ixc.tiling import SizePx


class Worker:
    """Takes a turn in a thread of its own, and keeps it until it is told to leave."""

    def __init__(self, turns, num_pixels):
        self.has_begun, self._may_leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, args=(turns, SizePx(num_pixels, 1)))
        self._thread.start()

    def _work(self, turns, size_px):
        with turns.turn(size_px):
            self.has_begun.set()
            self._may_leave.wait(20)

    def leave(self):
        assert self.has_begun.wait(20)
        self._may_leave.set()
        self._thread.join(20)


def line_of(turns, *sizes):
    """Workers that come one after the other: each stands in line, or has begun, before the next comes."""
    workers = []
    for num_waiting, num_pixels in enumerate(sizes, 1):
        workers.append(Worker(turns, num_pixels))
        while sum(worker.has_begun.is_set() for worker in workers) + len(turns._waiting) < num_waiting:
            workers[-1].has_begun.wait(0.001)
    return workers


def begun(workers):
    return [worker.has_begun.is_set() for worker in workers]


def test_as_many_are_under_way_as_fit_and_none_is_overtaken():
    turns = PixelTurns(max_pixels=100)
    workers = line_of(turns, 60, 40, 101, 1)
    assert begun(workers) == [True, True, False, False]  # 1 would have fitted before, but 101 came first
    workers[1].leave()
    assert begun(workers) == [True, True, False, False]  # what never fits is done alone
    workers[0].leave()
    assert workers[2].has_begun.wait(20)
    assert not workers[3].has_begun.is_set()
    workers[2].leave()
    workers[3].leave()


def test_whoever_would_wait_too_long_is_sent_away_and_a_failed_turn_leaves_no_trace():
    turns = PixelTurns(max_pixels=100, max_waiting=2)
    workers = line_of(turns, 100, 50, 50)
    with pytest.raises(EngineBusy, match="try again in a minute"), turns.turn(SizePx(1, 1)):
        pass
    for worker in workers:
        worker.leave()
    with pytest.raises(ZeroDivisionError), turns.turn(SizePx(100, 1)):
        _ = 1 / 0
    line_of(turns, 100)[0].leave()


def test_an_ordinary_picture_waits_for_no_large_one():
    with turn_for(SizePx(6000, 10_000)), turn_for(SizePx(2160, 3840)):
        pass
