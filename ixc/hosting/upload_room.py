"""Bounds what uploads take on the disk: a file that no question ever opens would stay there."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ixc.hosting.route_path import route_path

_UPLOAD = "/gradio_api/upload"
_RETRY_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """``max_file_bytes`` is one upload's limit. Uploads are deleted once they are opened, so few are there at a time."""

    max_file_bytes: int
    max_files: int = 1000
    max_age_s: float = 3600.0
    num_largest: int = 40
    """So many of the largest files that are allowed fit in: more than may wait in line."""

    @property
    def max_bytes(self) -> int:
        return self.num_largest * self.max_file_bytes


class UploadRoom:
    """ASGI middleware that refuses uploads with 503 while too many wait to be opened.

    ``uploads`` gives the set of paths that the app has taken. Those that are gone are removed from it, old files are deleted.
    """

    def __init__(self, app: ASGIApp, uploads: Callable[[], set[str]], limits: UploadLimits) -> None:
        self._app, self._uploads, self._limits = app, uploads, limits
        self._num_coming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not route_path(scope).startswith(_UPLOAD):
            await self._app(scope, receive, send)
            return
        self._num_coming += 1
        try:
            if await run_in_threadpool(self._is_full):
                text = "Too many uploads wait to be opened; try again in a minute."
                refusal = PlainTextResponse(text, 503, {"Retry-After": str(_RETRY_AFTER_S), "Connection": "close"})
                await refusal(scope, receive, send)
                return
            await self._app(scope, receive, send)
        finally:
            self._num_coming -= 1

    def _is_full(self) -> bool:
        """Uploads on their way count as the largest that are allowed."""
        uploads, num_bytes = self._uploads(), self._num_coming * self._limits.max_file_bytes
        for name in tuple(uploads):
            path = Path(name)
            try:
                found = path.stat()
                if time.time() - found.st_mtime < self._limits.max_age_s:
                    num_bytes += found.st_size
                    continue
                path.unlink()
            except OSError:
                pass  # opened and deleted meanwhile
            with suppress(OSError):
                path.parent.rmdir()  # each has a folder of its own
            uploads.discard(name)
        return len(uploads) + self._num_coming > self._limits.max_files or num_bytes > self._limits.max_bytes
