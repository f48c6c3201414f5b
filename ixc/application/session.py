"""What the server holds for an open page: its images, its running answer. Bounded, and gone when the tab closes."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from ixc.application.preview import encode_preview
from ixc.chat.request import StopFlag
from ixc.errors import EngineBusy, IxcError
from ixc.imaging.decode import DecodedImage
from ixc.settings import DEFAULT_HELD_IMAGE_BYTES

_CLOSED_FOR_S = 10.0
"""A request that was under way when its tab closed must not bring the session back. Short, because a browser that woke from
sleep may go on with the same page."""


class PageClosed(IxcError):
    """A request of a tab that was closed a moment ago."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of the store. Earlier images go before current ones, and of each the longest unused first."""

    max_sessions: int = 128
    max_images_per_session: int = 6
    max_bytes: int = DEFAULT_HELD_IMAGE_BYTES
    max_age_s: float = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class HeldImage:
    """A decoded upload, the scaled-down picture that the page shows, and the secret name under which the page fetches it."""

    image: DecodedImage
    preview: bytes
    token: str

    @property
    def num_bytes(self) -> int:
        return self.image.pixels_HWC.nbytes + len(self.preview)


@dataclass(slots=True)
class Session:
    """One open page. Changed only by ``SessionStore``, under its lock."""

    session_id: str
    last_used_s: float
    images: OrderedDict[str, HeldImage] = field(default_factory=OrderedDict)
    current_id: str | None = None
    stop: StopFlag | None = None
    asked_id: str | None = None
    """The image of the question under way, which may wait for its turn while another image is shown."""

    @property
    def earlier_ids(self) -> list[str]:
        """Images that are neither shown nor asked about, the longest unused first."""
        return [image_id for image_id in self.images if image_id not in (self.current_id, self.asked_id)]

    @property
    def current(self) -> HeldImage | None:
        return self.images.get(self.current_id) if self.current_id else None

    @property
    def num_bytes(self) -> int:
        return sum(held.num_bytes for held in self.images.values())


class SessionStore:
    """Sessions by Gradio's session hash. Thread-safe."""

    def __init__(self, limits: StoreLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or StoreLimits()
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._tokens: dict[str, tuple[str, str]] = {}
        self._closed: OrderedDict[str, float] = OrderedDict()

    def put_image(self, session_id: str, image: DecodedImage) -> HeldImage:
        """Make ``image`` the session's current one; an image it already holds is not held twice."""
        with self._lock:
            session = self._touch(session_id)
            held = session.images.get(image.image_id)
        if held is None:
            held = HeldImage(image, encode_preview(image), secrets.token_urlsafe(24))
        with self._lock:
            session = self._touch(session_id)
            held = session.images.setdefault(image.image_id, held)
            session.images.move_to_end(image.image_id)
            session.current_id = image.image_id
            self._tokens[held.token] = (session_id, image.image_id)
            self._evict()
        return held

    def clear_current(self, session_id: str) -> None:
        """Show no image. Earlier questions keep theirs."""
        with self._lock:
            if session_id in self._sessions:
                self._sessions[session_id].current_id = None

    def current(self, session_id: str) -> HeldImage | None:
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                return None
            session.last_used_s = self._clock()
            self._sessions.move_to_end(session_id)
            return session.current

    def images(self, session_id: str) -> dict[str, DecodedImage]:
        """Every image the session still holds, by image_id."""
        with self._lock:
            session = self._sessions.get(session_id)
            return {key: held.image for key, held in session.images.items()} if session else {}

    def preview(self, token: str) -> bytes | None:
        """The picture behind a secret name, while its session lives."""
        with self._lock:
            session_id, image_id = self._tokens.get(token, ("", ""))
            session = self._sessions.get(session_id)
            held = session.images.get(image_id) if session else None
            return held.preview if held else None

    def begin_answer(self, session_id: str, asked_id: str | None = None) -> StopFlag:
        """Start the session's one answer, about the image ``asked_id``, which stays until its end.

        Raises EngineBusy while another is being written.
        """
        with self._lock:
            session = self._touch(session_id)
            if session.stop is not None:
                raise EngineBusy("An answer is still being written; stop it or wait for its end.")
            session.stop, session.asked_id = StopFlag(), asked_id
            return session.stop

    def end_answer(self, session_id: str, stop: StopFlag) -> bool:
        """Finish it. False when the page was closed meanwhile: then nothing of the session may be kept anywhere."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None or session.stop is not stop:
                return False
            session.stop = session.asked_id = None
            if not session.images:  # a text chat holds nothing here
                self._drop(session_id)
            return True

    def is_answering(self, session_id: str) -> bool:
        with self._lock:
            session = self._sessions.get(session_id)
            return session is not None and session.stop is not None

    def stop(self, session_id: str) -> None:
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None and session.stop is not None:
                session.stop.set()

    def close(self, session_id: str) -> None:
        """The tab is gone: stop its answer and free everything it held."""
        with self._lock:
            self._drop(session_id)
            self._closed.pop(session_id, None)  # the order is by time, also for a page that was closed before
            self._closed[session_id] = self._clock()
            while next(iter(self._closed.values())) < self._clock() - _CLOSED_FOR_S:
                self._closed.popitem(last=False)

    def report(self) -> dict[str, int]:
        with self._lock:
            return {
                "sessions": len(self._sessions),
                "images": sum(len(session.images) for session in self._sessions.values()),
                "bytes": sum(session.num_bytes for session in self._sessions.values()),
                "tokens": len(self._tokens),
            }

    # --- under the lock -------------------------------------------------------------------------------------------

    def _touch(self, session_id: str) -> Session:
        if self._closed.get(session_id, -math.inf) > self._clock() - _CLOSED_FOR_S:
            raise PageClosed("This page was closed; reload it.")
        session = self._sessions.setdefault(session_id, Session(session_id, self._clock()))
        session.last_used_s = self._clock()
        self._sessions.move_to_end(session_id)
        return session

    def _drop(self, session_id: str) -> None:
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        if session.stop is not None:
            session.stop.set()
        for held in session.images.values():
            self._tokens.pop(held.token, None)

    def _evict(self) -> None:
        limits, newest = self._limits, next(reversed(self._sessions))
        for session in self._sessions.values():
            for image_id in session.earlier_ids[: max(0, len(session.images) - limits.max_images_per_session)]:
                self._drop_image(session, image_id)
        too_old = self._clock() - limits.max_age_s
        for session_id in [s.session_id for s in self._sessions.values() if s.last_used_s < too_old and s.stop is None]:
            self._drop(session_id)
        total = self._drop_earlier_images(sum(session.num_bytes for session in self._sessions.values()))
        while len(self._sessions) > limits.max_sessions or total > limits.max_bytes:
            idle = next((s for s in self._sessions.values() if s.stop is None and s.session_id != newest), None)
            if idle is None:
                break
            total -= idle.num_bytes
            self._drop(idle.session_id)

    def _drop_earlier_images(self, total: int) -> int:
        """Until the bytes fit: what no page shows or asks about, of the idlest pages first. Returns the bytes that are left."""
        for session in self._sessions.values():
            for image_id in session.earlier_ids:
                if total <= self._limits.max_bytes:
                    return total
                total -= self._drop_image(session, image_id)
        return total

    def _drop_image(self, session: Session, image_id: str) -> int:
        """Returns the bytes it took."""
        held = session.images.pop(image_id)
        self._tokens.pop(held.token, None)
        return held.num_bytes
