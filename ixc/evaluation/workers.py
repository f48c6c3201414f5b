"""Several processes that answer at the same time, each with an engine of its own: on a CPU two are faster than two threads."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from ixc.cores import usable_cores
from ixc.errors import SettingsError
from ixc.evaluation.held_out import Task
from ixc.settings import Settings

if TYPE_CHECKING:
    from ixc.chat.engine import Engine
    from ixc.evaluation.nano import Reading


class Workers:
    """``num`` processes with the model that ``settings`` name, which must be one that loads. A context manager.

    Ctrl-C is this process's to answer: the others end with what they are at, and say nothing.
    """

    def __init__(self, settings: Settings, num: int) -> None:
        self._pool = ProcessPoolExecutor(
            num,
            mp_context=multiprocessing.get_context("spawn"),  # a forked process cannot use torch's threads
            initializer=_begin,
            initargs=(settings, threads_each(num)),
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def readings(self, tasks: Sequence[Task], max_patches: int) -> Iterator[Reading]:
        """The answers at one budget, in order. A document's follow-up is answered where the document was read.

        Raises SettingsError when a process dies.
        """
        from ixc.evaluation.nano import Reading

        documents = [[task] if follow_up is None else [task, follow_up] for task, follow_up in _documents(tasks)]
        work = [(document, max_patches) for document in documents]
        try:
            with _without_interrupts():
                found = self._pool.map(_answer, work)  # which starts the processes
            for document, answers in zip(documents, found, strict=True):
                yield from (Reading(task, max_patches, answer) for task, answer in zip(document, answers, strict=True))
        except BrokenProcessPool:
            raise SettingsError("A process of the evaluation died, perhaps for want of memory; use fewer --jobs.") from None


def threads_each(num: int) -> int:
    """Of ``num`` processes that share the cores."""
    return max(1, usable_cores() // num)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that are started within it never hear of Ctrl-C, not even while they import; this one does afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _documents(tasks: Sequence[Task]) -> Iterator[tuple[Task, Task | None]]:
    for task, following in itertools.zip_longest(tasks, tasks[1:]):
        if task.earlier is None:
            yield task, following if following is not None and following.earlier else None


_engine: Engine | None = None
"""This process's own."""


def _begin(settings: Settings, num_threads: int) -> None:
    global _engine
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    from ixc.chat.loading import load_engine

    torch.set_num_threads(num_threads)
    _engine = load_engine(settings, measure=False)


def _answer(work: tuple[list[Task], int]) -> list[str]:
    from ixc.evaluation.nano import answer_task

    tasks, max_patches = work
    return [answer_task(_engine, task, max_patches).answer for task in tasks]
