"""The answers under way in this process, whoever asked: to be counted by those who watch, and ended before the app stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ixc.chat.events import AnswerStats, Event, Finished, FinishReason
from ixc.chat.request import StopFlag
from ixc.errors import IxcError

STOPPING_NOTICE = "The app is being restarted, so the answer ends here; ask again in a minute."
STOPPING_REFUSAL = "The app is being restarted; ask again in a minute."


class AppStopping(IxcError):
    """The app is shutting down: no new question is taken, and running answers have been ended."""


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """How one question ended. ``outcome`` is a FinishReason, "left" when nobody listened to its end, or an error's class."""

    outcome: str
    elapsed_s: float
    """From the question's arrival to its end, waiting included."""
    stats: AnswerStats | None = None


class Traffic:
    """Thread-safe. Nothing in here says who asked or what."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._running: set[StopFlag] = set()
        self._listeners: list[Callable[[AnswerEnd], None]] = []
        self._is_stopping = self._has_ended_all = False

    @property
    def num_running(self) -> int:
        """Questions that wait or are being answered."""
        with self._changed:
            return len(self._running)

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    def listen(self, on_end: Callable[[AnswerEnd], None]) -> None:
        """Call ``on_end`` after every question, in the thread that served it."""
        self._listeners.append(on_end)

    def watch(self, events: Iterator[Event], stop: StopFlag) -> Iterator[Event]:
        """``events`` as they are, counted. Raises AppStopping at the start once the app stops, or at an end it brought."""
        with self._counted(stop) as report:
            for event in events:
                if isinstance(event, Finished):
                    if self._has_ended_all and event.reason is FinishReason.STOPPED:
                        raise AppStopping(STOPPING_NOTICE)
                    report(str(event.reason), event.stats)
                yield event

    def refuse_new(self) -> None:
        """Take no more questions; those under way go on."""
        with self._changed:
            self._is_stopping = True

    def end_all(self) -> None:
        """Stop every answer under way; whoever reads it is told why."""
        with self._changed:
            self._has_ended_all = True
            for stop in self._running:
                stop.set()

    def wait_until_idle(self, timeout_s: float) -> bool:
        """True once no question is under way."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)

    @contextmanager
    def _counted(self, stop: StopFlag) -> Iterator[Callable[[str, AnswerStats | None], None]]:
        started_s = self._clock()
        outcome: tuple[str, AnswerStats | None] = ("left", None)

        def report(name: str, stats: AnswerStats | None) -> None:
            nonlocal outcome
            outcome = (name, stats)

        with self._changed:
            if self._is_stopping:
                raise AppStopping(STOPPING_REFUSAL)
            self._running.add(stop)
        try:
            yield report
        except GeneratorExit:
            raise
        except BaseException as error:
            report(type(error).__name__, None)
            raise
        finally:
            with self._changed:
                self._running.discard(stop)
                self._changed.notify_all()
            end = AnswerEnd(outcome[0], self._clock() - started_s, outcome[1])
            for on_end in self._listeners:
                on_end(end)
