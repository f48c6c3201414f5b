"""While somebody still types, the model reads the image that their page shows: the answer then begins almost at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ixc.application.engine_provider import EngineProvider
from ixc.application.session import SessionStore
from ixc.application.traffic import Traffic
from ixc.application.waiting import WaitingLine
from ixc.chat.interface import ReadAheadOutcome
from ixc.chat.request import ChatRequest, StopFlag

logger = logging.getLogger(__name__)

_STANDS_STILL_S = 0.8
"""An image, a budget and a conversation that nobody has changed for so long are read."""
_MAX_PAGES = 64
"""That wait for it, or are known to be read for in vain; of more the oldest are not."""
_LOOK_EVERY_S = 0.25
"""How often one whose model is busy looks again."""


@dataclass(frozen=True, slots=True)
class _Wish:
    request: ChatRequest
    due_s: float


@dataclass(frozen=True, slots=True)
class _Reading:
    request: ChatRequest
    stop: _WhileIdle


class _WhileIdle(StopFlag):
    """Set by hand, or as soon as ``gives_way`` says so."""

    def __init__(self, gives_way: Callable[[], bool]) -> None:
        super().__init__()
        self._gives_way = gives_way

    @property
    def is_set(self) -> bool:
        return self._event.is_set() or self._gives_way()

    @property
    def was_set(self) -> bool:
        """By hand: nobody wants it any more."""
        return self._event.is_set()


class ReadAhead:
    """Reads for one page at a time, the longest waiting first, only while no question of anybody else is under way.

    A question of the same page does not stop it, unless it begins with something else, which the engine sees. What gave way is
    taken up again. Thread-safe.
    """

    def __init__(
        self,
        provider: EngineProvider,
        store: SessionStore,
        line: WaitingLine,
        traffic: Traffic,
        stands_still_s: float = _STANDS_STILL_S,
    ) -> None:
        self._provider, self._store, self._line, self._traffic = provider, store, line, traffic
        self._stands_still_s = stands_still_s
        self._changed = threading.Condition()
        self._wishes: dict[str, _Wish] = {}
        self._reading: _Reading | None = None
        self._in_vain: dict[str, tuple[object, ...]] = {}
        """Of each page what the engine had no room for: that is not read again and again."""
        self.num_ended: Counter[ReadAheadOutcome] = Counter()
        """Since the start, by what came of it."""
        self._thread: threading.Thread | None = None

    def soon(self, request: ChatRequest) -> None:
        """Read for the next question, which has no words yet, unless the page shows something else in a moment."""
        session = request.session_id
        with self._changed:
            if self._in_vain.get(session) == self._beginning(request):
                self._wishes.pop(session, None)
                return
            if (reading := self._reading) and reading.request.session_id == session:
                if self._beginning(reading.request) == self._beginning(request):
                    return
                reading.stop.set()
            self._wishes.pop(session, None)
            # Without its images: the store, which bounds them, has them when it is this page's turn.
            self._wish(replace(request, images={}))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ixc-read-ahead", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def forget(self, session_id: str) -> None:
        """The page was closed, or shows no image any more."""
        with self._changed:
            self._wishes.pop(session_id, None)
            self._in_vain.pop(session_id, None)
            if (reading := self._reading) and reading.request.session_id == session_id:
                reading.stop.set()

    def wait_until_done(self, timeout_s: float) -> bool:
        """Whether nothing is left to read within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._wishes and self._reading is None, timeout_s)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            reading = self._next()
            request, outcome = reading.request, None
            try:
                outcome = self._read(request, reading.stop)
            except Exception:
                logger.exception("reading ahead failed")
            with self._changed:
                if outcome is not None:
                    self.num_ended[outcome] += 1
                if outcome is ReadAheadOutcome.IN_VAIN:
                    self._in_vain[request.session_id] = self._beginning(request)
                    _keep_newest(self._in_vain)
                elif outcome is ReadAheadOutcome.GAVE_WAY and not reading.stop.was_set:
                    self._wish(request)
                self._reading = None
                self._changed.notify_all()

    def _wish(self, request: ChatRequest) -> None:
        self._wishes[request.session_id] = _Wish(request, time.monotonic() + self._stands_still_s)
        _keep_newest(self._wishes)

    def _next(self) -> _Reading:
        with self._changed:
            while True:
                session, wish = next(iter(self._wishes.items()), (None, None))
                if wish is None:
                    self._changed.wait()
                elif (remaining_s := wish.due_s - time.monotonic()) > 0:
                    self._changed.wait(remaining_s)
                elif self._line.num_inside or self._is_busy(session):
                    self._changed.wait(_LOOK_EVERY_S)
                else:
                    del self._wishes[session]
                    self._reading = _Reading(wish.request, _WhileIdle(partial(self._is_busy, session)))
                    return self._reading

    def _beginning(self, request: ChatRequest) -> tuple[object, ...]:
        """What decides what is read."""
        return self._provider.status.key, request.view, request.turns, request.system

    def _is_busy(self, session: str) -> bool:
        """Whether the model is wanted for something else than this page."""
        own = self._store.is_answering(session)
        return self._line.num_inside > own or not self._provider.wait(0) or self._traffic.is_stopping

    def _read(self, request: ChatRequest, stop: StopFlag) -> ReadAheadOutcome | None:
        """None: there is no model, or the page is gone."""
        if self._provider.engine is None or not self._is_shown(request):
            return None
        images = self._store.images(request.session_id)
        with self._provider.borrowed() as engine:
            outcome = engine.read_ahead(replace(request, images=images), stop)
            if not self._is_shown(request):  # closed meanwhile: nothing may be kept of it
                engine.forget(request.session_id)
                return None
        return outcome

    def _is_shown(self, request: ChatRequest) -> bool:
        """Whether the page is still there, with that image."""
        return request.view is not None and request.view.image_id in self._store.images(request.session_id)


def _keep_newest(pages: dict[str, Any]) -> None:
    while len(pages) > _MAX_PAGES:
        pages.pop(next(iter(pages)))
