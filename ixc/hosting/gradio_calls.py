"""Keeps Gradio's calls to those that the page and its clients make."""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ixc.hosting.route_path import route_path

_PREFIX = "/gradio_api/"
_USED = frozenset(
    {
        "api",
        "app_id",
        "call",
        "cancel",
        "heartbeat",
        "info",
        "login_check",
        "openapi.json",
        "queue",
        "reset",
        "run",
        "startup-events",
        "theme.css",
        "upload",
        "upload_progress",
        "user",
    }
)
"""First parts of the paths.

Left out on purpose: ``file=`` and ``proxy=``, which read files and addresses; ``process_recording``, which keeps what it is
sent and hands it to ffmpeg; media streams, deep links and the editing of the app in the browser.
"""


class OnlyUsedCalls:
    """ASGI middleware: what this app has no use for does not exist, whether or not Gradio guards it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (path := route_path(scope)).startswith(_PREFIX):
            first = path.removeprefix(_PREFIX).partition("/")[0]
            if first not in _USED:
                await PlainTextResponse("Not found.", 404)(scope, receive, send)
                return
        await self._app(scope, receive, send)
