"""How many pages are open, and a sentence for whoever comes when there are enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ixc.hosting.route_path import route_path

_HEARTBEAT = "/gradio_api/heartbeat/"
"""Every open page holds this connection; its end is how Gradio learns that the page was closed."""
_PAGE, _CONFIG = "/", "/config"
_RETRY_AFTER_S = 60

FULL_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Full</title><body style="font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1rem">
<h1 style="font-size: 1.25rem">Everybody is here already</h1>
<p>This app serves {max_users} at a time. Reload the page in a minute.</p>
<p lang="zh">同时使用的人数已满（{max_users} 人），请一分钟后刷新页面。</p>
"""


class OpenPages:
    """The number of open pages. Only the server's event loop changes it."""

    def __init__(self, max_users: int = 0) -> None:
        self.max_users = max_users
        self.num_open = 0
        self.num_refused = 0

    @property
    def is_full(self) -> bool:
        return 0 < self.max_users <= self.num_open


class CountPages:
    """ASGI middleware that counts heartbeats and turns newcomers away while ``pages`` is full; open pages go on.

    Of heartbeats only those that ``is_page`` says come from a page: Gradio answers anybody's, logged in or not.
    """

    def __init__(self, app: ASGIApp, pages: OpenPages, is_page: Callable[[Scope], bool] = lambda scope: True) -> None:
        self._app, self._pages, self._is_page = app, pages, is_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope) if scope["type"] == "http" else ""
        if path.startswith(_HEARTBEAT) and self._is_page(scope):
            self._pages.num_open += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._pages.num_open -= 1
            return
        if path in (_PAGE, _CONFIG) and scope["method"] == "GET" and self._pages.is_full:
            self._pages.num_refused += 1
            await self._refusal(path)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, path: str) -> Response:
        options = {"status_code": 503, "headers": {"Retry-After": str(_RETRY_AFTER_S)}}
        max_users = self._pages.max_users
        if path == _PAGE:
            return HTMLResponse(FULL_PAGE.format(max_users=max_users), **options)
        return JSONResponse({"detail": f"This app serves {max_users} users at a time; try again in a minute."}, **options)


def is_logged_in(app: Any, scope: Scope) -> bool:
    """Whether a request to Gradio's ``app`` carries the cookie of somebody who gave a name and password, as Gradio tells it."""
    cookies = Request(scope).cookies
    token = cookies.get(f"access-token-{app.cookie_id}") or cookies.get(f"access-token-unsecure-{app.cookie_id}")
    return app.tokens.get(token) is not None
