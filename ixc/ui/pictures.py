"""Serves the scaled-down pictures and keeps the page to itself: no request may leave the machine it came from."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ixc.application.preview import PREVIEW_TYPE
from ixc.application.session import SessionStore

_PREFIX = "/pictures/"

CONTENT_POLICY = "; ".join(
    (
        # Gradio's page needs inline scripts and compiles its templates; everything else must come from this server.
        "default-src 'self' data: blob:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)


def picture_address(token: str) -> str:
    """Relative to the app's root, which may be a path of some other server."""
    return f"{_PREFIX[1:]}{token}"


def picture_route(store: SessionStore) -> Route:
    """GET /pictures/<secret name>. The name is known to one page only, and dies with its session."""

    def serve(request: Request) -> Response:
        preview = store.preview(request.path_params["token"])
        if preview is None:
            return PlainTextResponse("This picture is no longer held.", status_code=404)
        return Response(preview, media_type=PREVIEW_TYPE, headers={"Cache-Control": "private, max-age=86400, immutable"})

    return Route(_PREFIX + "{token}", serve, methods=["GET"])


class ContentPolicy:
    """ASGI middleware: the browser refuses to load anything from elsewhere, whatever an answer or a name contains."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
            await send(message)

        await self._app(scope, receive, send_with_policy)
