"""Whose share of a ZeroGPU an answer takes, also where Gradio is not asked."""

from __future__ import annotations

import gradio as gr
from gradio.context import LocalContext
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ixc.hosting.route_path import route_path

_OUR_OWN = ("/v1/", "/mcp")


class VisitorOfGpu:
    """ASGI middleware: shows the calls that are not Gradio's to ``spaces`` as Gradio shows its own.

    ``spaces`` reads in the request's headers for whom the Hub counts. Each request has a context of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and route_path(scope).startswith(_OUR_OWN):
            LocalContext.request.set(gr.Request(Request(scope)))
        await self._app(scope, receive, send)
