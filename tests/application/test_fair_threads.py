"""Whose work begins when many want the same few threads. Work here is a gate that the test opens."""

import asyncio
import threading

import pytest

from ixc.application.fair_threads import FairThreads, Shares
from ixc.errors import EngineBusy
from tests.event_loops import run_apart


class Gates:
    """Work that tells when it began and ends when it is let go."""

    def __init__(self, threads):
        self.threads, self.begun, self.gates, self.tasks = threads, [], {}, {}

    def send(self, caller, *names):
        for name in names:
            self.gates[name] = threading.Event()
            self.tasks[name] = asyncio.create_task(self.threads.run(caller, self._work, asyncio.get_running_loop(), name))

    def _work(self, loop, name):
        loop.call_soon_threadsafe(self.begun.append, name)
        assert self.gates[name].wait(10)
        return name

    async def until(self, *names):
        async with asyncio.timeout(10):
            while not set(names) <= set(self.begun):
                await asyncio.sleep(0.001)

    async def end(self, *names):
        for name in names:
            self.gates[name].set()
            assert await self.tasks[name] == name


def test_a_caller_has_its_share_and_callers_take_turns():
    async def scene():
        work = Gates(FairThreads(Shares(num_threads=3, threads_each=2, waiting=9, waiting_each=9), "test"))
        work.send("a", "a1", "a2", "a3", "a4")
        await work.until("a1", "a2")
        work.send("b", "b1", "b2")
        work.send("c", "c1")
        await work.until("b1")  # at once, although "a" waits with more
        await work.end("a1")  # "a" is the first in the round and below its share again
        await work.until("a3")
        await work.end("b1")
        await work.until("b2")
        await work.end("a2")
        await work.until("c1")
        assert work.begun == ["a1", "a2", "b1", "a3", "b2", "c1"]
        await work.end("a3", "b2", "c1", "a4")

    run_apart(scene())


def test_what_waits_is_bounded_for_each_and_for_all():
    async def scene():
        work = Gates(FairThreads(Shares(num_threads=1, threads_each=1, waiting=3, waiting_each=2), "test"))
        work.send("a", "a1", "a2", "a3")
        await work.until("a1")
        with pytest.raises(EngineBusy, match="try again"):
            await work.threads.run("a", print)
        work.send("b", "b1")
        await asyncio.sleep(0)
        with pytest.raises(EngineBusy, match="try again"):
            await work.threads.run("c", print)
        work.tasks["a2"].cancel()  # a place that is given up is free again, and is nobody's turn
        await asyncio.wait([work.tasks["a2"]])
        work.send("c", "c1")
        await work.end("a1", "a3", "b1", "c1")
        assert work.begun == ["a1", "a3", "b1", "c1"]

    run_apart(scene())


def test_nobody_waits_for_long_and_errors_free_the_thread():
    async def scene():
        work = Gates(FairThreads(Shares(num_threads=1, threads_each=1, waiting=3, waiting_each=2, max_wait_s=0.05), "test"))
        work.send("a", "a1")
        await work.until("a1")
        with pytest.raises(EngineBusy, match="waited too long"):
            await work.threads.run("b", print)
        work.tasks["a1"].cancel()  # its caller has gone, but its thread works on
        await asyncio.wait([work.tasks["a1"]])
        with pytest.raises(EngineBusy, match="waited too long"):
            await work.threads.run("b", print)
        work.gates["a1"].set()
        with pytest.raises(ZeroDivisionError):
            await work.threads.run("b", lambda: 1 / 0)
        assert await work.threads.run("b", lambda: "free") == "free"

    run_apart(scene())
