"""How many pages are open, and a sentence for whoever comes when there are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ixc.hosting.route_path import route_path
from ixc.serving.callers import network_of

_HEARTBEAT = "/gradio_api/heartbeat/"
"""Every open page holds this connection under its session hash; its end is how Gradio learns that the page was closed."""
_PAGE, _CONFIG = "/", "/config"
_RETRY_AFTER_S = 60

FULL_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Full</title><body style="font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1rem">
<h1 style="font-size: 1.25rem">Everybody is here already</h1>
<p>This app serves {number}{of_whom} at a time. Reload the page in a minute.</p>
<p lang="zh">{of_whom_zh}同时使用的人数已满（{number} 人），请一分钟后刷新页面。</p>
"""


@dataclass(slots=True)
class _Page:
    """An open page: where it came from, and how many connections it holds."""

    network: str
    num_connections: int = 0


class OpenPages:
    """The pages that are open, by their session hashes. Only the server's event loop changes it."""

    def __init__(self, max_users: int = 0, *, has_shares: bool = True) -> None:
        """``has_shares``: False where networks say nothing of who comes, or passwords say it better."""
        self.max_users = max_users
        self._has_shares = has_shares
        self.num_refused = 0
        self._pages: dict[str, _Page] = {}

    @property
    def num_open(self) -> int:
        return len(self._pages)

    @property
    def is_full(self) -> bool:
        return 0 < self.max_users <= self.num_open

    @property
    def share(self) -> int:
        """Pages that one network may have open: else one program that opens many would keep everybody else out."""
        return max(min(2, self.max_users), self.max_users // 2)

    def has_share(self, network: str) -> bool:
        """Whether ``network`` has as many pages open as it may."""
        if not self._has_shares or not self.max_users:
            return False
        return sum(page.network == network for page in self._pages.values()) >= self.share

    def enter(self, session: str, network: str) -> bool:
        """A connection of a page begins, of one that is open already or of another. False when its network has its share."""
        if session not in self._pages and self.has_share(network):
            return False
        self._pages.setdefault(session, _Page(network)).num_connections += 1
        return True

    def leave(self, session: str) -> None:
        """A connection has ended; with its last one a page is closed."""
        page = self._pages[session]
        page.num_connections -= 1
        if not page.num_connections:
            del self._pages[session]


class CountPages:
    """ASGI middleware that counts open pages. While there are enough, or enough of one network, newcomers are turned away.

    Pages that are open go on. They are told by their heartbeats, of which only those count that ``is_page`` says come from a
    page: Gradio answers anybody's, logged in or not.
    """

    def __init__(self, app: ASGIApp, pages: OpenPages, is_page: Callable[[Scope], bool] = lambda scope: True) -> None:
        self._app, self._pages, self._is_page = app, pages, is_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope) if scope["type"] == "http" and scope["method"] == "GET" else ""
        if path.startswith(_HEARTBEAT) and self._is_page(scope):
            await self._heartbeat(path.removeprefix(_HEARTBEAT), scope, receive, send)
        elif path in (_PAGE, _CONFIG) and (self._pages.is_full or self._pages.has_share(network_of(scope))):
            await self._refusal(path)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _heartbeat(self, session: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._pages.enter(session, network_of(scope)):
            await self._refusal(_HEARTBEAT)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._pages.leave(session)

    def _refusal(self, path: str) -> Response:
        pages = self._pages
        pages.num_refused += 1
        options = {"status_code": 503, "headers": {"Retry-After": str(_RETRY_AFTER_S)}}
        number = pages.max_users if pages.is_full else pages.share
        if path == _PAGE:
            of_whom, of_whom_zh = ("", "") if pages.is_full else (" of one network", "来自同一网络、")
            return HTMLResponse(FULL_PAGE.format(number=number, of_whom=of_whom, of_whom_zh=of_whom_zh), **options)
        users = "users" if pages.is_full else "users of one network"
        return JSONResponse({"detail": f"This app serves {number} {users} at a time; try again in a minute."}, **options)


def is_logged_in(app: Any, scope: Scope) -> bool:
    """Whether a request to Gradio's ``app`` carries the cookie of somebody who gave a name and password, as Gradio tells it."""
    cookies = Request(scope).cookies
    token = cookies.get(f"access-token-{app.cookie_id}") or cookies.get(f"access-token-unsecure-{app.cookie_id}")
    return app.tokens.get(token) is not None
