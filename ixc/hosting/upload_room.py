"""Bounds what uploads take on the disk: a file that no question ever opens would stay there."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ixc.application.raised import where_raised
from ixc.hosting.route_path import route_path
from ixc.serving.callers import network_of

logger = logging.getLogger(__name__)

_UPLOAD = "/gradio_api/upload"
_RETRY_AFTER_S = 60
_MAX_ANSWER_BYTES = 64 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that is full, for all or for this user, or takes no larger file."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """``max_file_bytes`` is one upload's limit. Uploads are deleted once they are opened, so few are there at a time."""

    max_file_bytes: int
    max_files: int = 1000
    max_age_s: float = 3600.0
    sweep_every_s: float = 600.0
    """Old files are looked for with whatever request comes then, an open page's or a health check's."""
    num_largest: int = 40
    """So many of the largest files that are allowed fit in: more than may wait in line."""
    share: float = 0.5
    """Of all that, for one network: whoever fills it keeps nobody elsewhere from uploading."""

    @property
    def max_bytes(self) -> int:
        return self.num_largest * self.max_file_bytes


class UploadRoom:
    """ASGI middleware that refuses uploads with 503 while too many wait to be opened, of all callers or of one network.

    With 507 those for which the disk has no room.

    ``uploads`` gives the set of paths that the app has taken. Those that are gone are removed from it, old files are deleted.
    """

    def __init__(self, app: ASGIApp, uploads: Callable[[], set[str]], limits: UploadLimits) -> None:
        self._app, self._uploads, self._limits = app, uploads, limits
        self._coming: list[_Coming] = []
        self._owners: dict[str, str] = {}
        """Networks by the paths that the app answered them with."""
        self._swept_s = time.monotonic()
        self._sweeping: asyncio.Task[object] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if time.monotonic() - self._swept_s >= self._limits.sweep_every_s:
            self._swept_s = time.monotonic()
            self._sweeping = asyncio.create_task(run_in_threadpool(self._kept))
        if scope["type"] != "http" or scope["method"] != "POST" or not route_path(scope).startswith(_UPLOAD):
            await self._app(scope, receive, send)
            return
        coming = _Coming(network_of(scope), self._most_bytes(scope))
        self._coming.append(coming)
        try:
            if await run_in_threadpool(self._is_full, coming.network):
                await _TOO_MANY(scope, receive, send)
            else:
                await self._take(scope, receive, send, coming.network)
        finally:
            self._coming.remove(coming)

    async def _take(self, scope: Scope, receive: Receive, send: Send, network: str) -> None:
        has_begun = False
        send_and_note = self._noting_owner(send, network)

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send_and_note(message)

        try:
            await self._app(scope, receive, send_on)
        except OSError as error:
            if has_begun or error.errno not in _NO_ROOM:
                raise
            logger.error("an upload could not be stored", extra={"raised": where_raised(error)})
            await _DISK_IS_FULL(scope, receive, send)

    def _most_bytes(self, scope: Scope) -> int:
        """What may be coming: as much as was announced, and never more than the largest that is allowed."""
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        return min(int(announced), self._limits.max_file_bytes) if announced.isdigit() else self._limits.max_file_bytes

    def _noting_owner(self, send: Send, network: str) -> Send:
        status, answer = 0, bytearray()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if status == 200 and len(answer) < _MAX_ANSWER_BYTES:
                answer.extend(message.get("body", b""))
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    self._owners.update(dict.fromkeys(_paths_in(bytes(answer)) & self._uploads(), network))
            await send(message)

        return send_and_note

    def _is_full(self, network: str) -> bool:
        num_files, num_bytes = Counter[str](), Counter[str]()
        for coming in tuple(self._coming):
            num_files[coming.network] += 1
            num_bytes[coming.network] += coming.num_bytes
        for name, size in self._kept():
            owner = self._owners.get(name, "")
            num_files[owner] += 1
            num_bytes[owner] += size
        limits = self._limits
        return (
            num_files.total() > limits.max_files
            or num_bytes.total() > limits.max_bytes
            or num_files[network] > limits.max_files * limits.share
            or num_bytes[network] > limits.max_bytes * limits.share
        )

    def _kept(self) -> list[tuple[str, int]]:
        """Paths and bytes of the uploads that are there; those that are gone are forgotten, old ones deleted."""
        uploads, kept = self._uploads(), []
        for name in tuple(uploads):
            size = self._size_unless_old(Path(name))
            if size is None:
                uploads.discard(name)
                self._owners.pop(name, None)
            else:
                kept.append((name, size))
        return kept

    def _size_unless_old(self, path: Path) -> int | None:
        """In bytes. None: it was opened and deleted meanwhile, or is old and deleted now."""
        try:
            found = path.stat()
            if time.time() - found.st_mtime < self._limits.max_age_s:
                return found.st_size
            path.unlink()
        except OSError:
            pass
        with suppress(OSError):
            path.parent.rmdir()  # each has a folder of its own
        return None


def _refusal(status: int, message: str, **headers: str) -> PlainTextResponse:
    return PlainTextResponse(message, status, {"Connection": "close", **headers})


_TOO_MANY = _refusal(503, "Too many uploads wait to be opened; try again in a minute.", **{"Retry-After": str(_RETRY_AFTER_S)})
_DISK_IS_FULL = _refusal(507, "The file could not be stored; the server's disk may be full. Free some space and try again.")


@dataclass(frozen=True, slots=True, eq=False)
class _Coming:
    """An upload on its way."""

    network: str
    num_bytes: int


def _paths_in(answer: bytes) -> set[str]:
    """Of the files that an answer of Gradio's names."""
    try:
        named = json.loads(answer)
    except ValueError:
        return set()
    return {path for path in named if isinstance(path, str)} if isinstance(named, list) else set()
