"""Two MCP tools at ``/mcp`` (streamable HTTP): see how an image would be cut, and ask about it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import Tool, ToolAnnotations
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import ixc
from ixc.application.messages import message_for
from ixc.application.model_choice import is_loopback
from ixc.chat.events import Finished, TextDelta
from ixc.plan_facts import plan_facts
from ixc.serving.answers import Answering, stop_when_gone
from ixc.serving.callers import share_caller
from ixc.serving.openai_answer import finish_reason, timings_of, usage_of

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_BASE64 = 4 / 3
_TEXT_BYTES = 1024**2
_INSTRUCTIONS = (
    "plan_image shows how a high-resolution image is cut into tiles and how many tokens that costs; ask_image answers a "
    "question about it. Images are data: URLs with base64. More max_patches read smaller print and take longer."
)


_IMAGE = {"type": "string", "description": "A data: URL with base64, such as data:image/png;base64,..."}
_BUDGET = {
    "type": ["integer", "null"],
    "description": "Tiles the image may be cut into; more read smaller print and take longer. Left out: the model's own.",
}
_TOOLS = (
    Tool(
        name="plan_image",
        description="How the model cuts an image (a data: URL with base64) under a budget of max_patches tiles: sizes, grid, "
        "tokens. Needs no model run.",
        inputSchema={
            "type": "object",
            "properties": {"image_url": _IMAGE, "max_patches": _BUDGET},
            "required": ["image_url"],
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(readOnlyHint=True),
    ),
    Tool(
        name="ask_image",
        description="Answer a question about an image (a data: URL with base64). Returns the text, why it ended, token counts "
        "and timings.",
        inputSchema={
            "type": "object",
            "properties": {
                "image_url": _IMAGE,
                "question": {"type": "string"},
                "max_patches": _BUDGET,
                "max_tokens": {"type": ["integer", "null"], "description": "Most tokens of the answer."},
            },
            "required": ["image_url", "question"],
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(readOnlyHint=True),
    ),
)


class ToolError(Exception):
    """What a caller is told, one sentence."""


def mcp_route(answering: Answering, *, needs_key: bool) -> Route:
    """The route of the MCP endpoint. Each request stands for itself: no sessions are kept.

    ``needs_key``: nobody comes here without a key or a password.
    """
    # Nothing is ever told unasked, so there is no stream for a GET to hold open.
    return Route("/mcp", _McpEndpoint(answering, needs_key=needs_key), methods=["POST"])


class ImageTools:
    """What the tools do. Errors are one sentence."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._services = answering.services

    async def call(self, name: str, arguments: dict[str, Any], request: Request | None) -> dict[str, Any]:
        """What the tool of this name answers; the arguments fit its schema. Raises ToolError."""
        match name:
            case "plan_image":
                return await _in_a_sentence(self._plan(request, **arguments))
            case "ask_image":
                return await _in_a_sentence(self._ask(request, **arguments))
        raise ToolError(f"There is no tool {name[:40]!r}; there are plan_image and ask_image.")

    async def _plan(self, request: Request | None, image_url: str, max_patches: int | None = None) -> dict[str, Any]:
        limit = self._services.settings.max_patches_limit
        budget = self._services.default_max_patches if max_patches is None else int(max_patches)
        if not 1 <= budget <= limit:
            raise ToolError(f"max_patches must be a whole number from 1 to {limit}.")
        image = await self._answering.read_image(image_url, share_caller(request))
        return plan_facts(self._services.provider.layout.plan(image.size_px, budget), max_patches_limit=limit)

    async def _ask(
        self,
        request: Request | None,
        image_url: str,
        question: str,
        max_patches: int | None = None,
        max_tokens: int | None = None,
    ) -> dict[str, Any]:
        provider = self._services.provider
        parts = [{"type": "image_url", "image_url": {"url": image_url}}, {"type": "text", "text": question}]
        body = {
            "model": provider.status.api_name,
            "messages": [{"role": "user", "content": parts}],
            "max_patches": max_patches,
            "max_tokens": max_tokens,
        }
        asked = await self._answering.parse(body, share_caller(request))
        pump = self._answering.pump(asked, request)
        gone = asyncio.create_task(stop_when_gone(request, pump)) if request is not None else None
        text = ""
        try:
            async for event in pump.events():
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Finished):
                    figures = {"usage": usage_of(event.stats), "timings": timings_of(event.stats)}
                    return {"answer": text, "finish_reason": finish_reason(event), **figures}
        finally:
            if gone is not None:
                gone.cancel()
        raise ToolError("The answer ended early; ask again.")


class _McpEndpoint:
    """The ASGI app behind the route; the SDK's session manager runs from the first request to the end of the loop."""

    def __init__(self, answering: Answering, *, needs_key: bool) -> None:
        tools = ImageTools(answering)
        server = Server("ixc", version=ixc.__version__, instructions=_INSTRUCTIONS)

        @server.list_tools()
        async def list_tools() -> list[Tool]:
            return list(_TOOLS)

        @server.call_tool()
        async def call_tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            return await tools.call(name, arguments, server.request_context.request)

        settings = answering.services.settings
        hosts = [f"{name}{port}" for name in _LOOPBACK_NAMES for port in ("", ":*")]
        self._manager = StreamableHTTPSessionManager(
            server,
            stateless=True,
            json_response=True,
            max_request_body_size=int(settings.images.max_bytes * _BASE64) + _TEXT_BYTES,
            # On loopback a web page could reach the tools through a name of its own that points here; it has no key to send.
            security_settings=TransportSecuritySettings(
                enable_dns_rebinding_protection=is_loopback(settings.host) and not needs_key,
                allowed_hosts=hosts,
                allowed_origins=[f"http://{host}" for host in hosts],
            ),
        )
        logging.getLogger("mcp").setLevel(logging.WARNING)
        self._started: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._started is None:
            self._started = asyncio.Event()
            self._task = asyncio.create_task(self._run(self._started))
        await self._started.wait()
        await self._manager.handle_request(scope, receive, send)

    async def _run(self, started: asyncio.Event) -> None:
        async with self._manager.run():
            started.set()
            await asyncio.Event().wait()


async def _in_a_sentence(work: Any) -> dict[str, Any]:
    """The result of ``work``. Raises ToolError with what a user may be told."""
    try:
        return await work
    except ToolError:
        raise
    except Exception as error:
        raise ToolError(message_for(error).sentence("en")) from error
