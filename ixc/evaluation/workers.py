"""Several processes that answer at the same time, each with an engine of its own: on a CPU two are faster than two threads."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TYPE_CHECKING

from ixc.errors import SettingsError
from ixc.evaluation.held_out import Task
from ixc.settings import Settings

if TYPE_CHECKING:
    from ixc.chat.engine import Engine
    from ixc.evaluation.nano import Reading


class Workers:
    """``num`` processes with the model that ``settings`` name, which must be one that loads. A context manager."""

    def __init__(self, settings: Settings, num: int) -> None:
        self._pool = ProcessPoolExecutor(
            num,
            mp_context=multiprocessing.get_context("spawn"),  # a forked process cannot use torch's threads
            initializer=_begin,
            initargs=(settings, max(1, (os.cpu_count() or 1) // num)),
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
            for document, answers in zip(documents, self._pool.map(_answer, work), strict=True):
                yield from (Reading(task, max_patches, answer) for task, answer in zip(document, answers, strict=True))
        except BrokenProcessPool:
            raise SettingsError("A process of the evaluation died, perhaps for want of memory; use fewer --jobs.") from None


def _documents(tasks: Sequence[Task]) -> Iterator[tuple[Task, Task | None]]:
    for task, following in itertools.zip_longest(tasks, tasks[1:]):
        if task.earlier is None:
            yield task, following if following is not None and following.earlier else None


_engine: Engine | None = None
"""This process's own."""


def _begin(settings: Settings, num_threads: int) -> None:
    global _engine
    import torch

    from ixc.chat.loading import load_engine

    torch.set_num_threads(num_threads)
    _engine = load_engine(settings, measure=False)


def _answer(work: tuple[list[Task], int]) -> list[str]:
    from ixc.evaluation.nano import answer_task

    tasks, max_patches = work
    return [answer_task(_engine, task, max_patches).answer for task in tasks]
