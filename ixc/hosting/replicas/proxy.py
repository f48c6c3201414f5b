"""Hands each request to the server its conversation belongs to, and the answer back as it comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

import httpx2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ixc.hosting.replicas.affinity import conversation_key
from ixc.hosting.replicas.pool import ReplicaPool

logger = logging.getLogger(__name__)

_OF_THE_CONNECTION = {
    *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer", b"upgrade"),
    *(b"transfer-encoding", b"host", b"content-length", b"expect", b"x-forwarded-for"),
}
"""Headers that concern one hop (RFC 9110, section 7.6.1), and those that are set anew for the next."""
_NOT_NOW = (502, 503, 504)
"""What a server answers that is starting, stopping or cut off from its model; the next one may do better."""


_RETRY_AFTER_S = 5


class ReplicaProxy:
    """An ASGI app for ``/v1/``. A caller who goes away closes the request behind, which ends the answer there.

    A server that cannot be reached, or is not ready, is passed over for the next; one that is lost in mid-answer breaks the
    answer off, and the same conversation's next request goes elsewhere.
    """

    def __init__(self, pool: ReplicaPool, client: httpx2.AsyncClient) -> None:
        self._pool, self._client = pool, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await WebSocketClose()(scope, receive, send)
            return
        if {".", ".."} & set(scope["path"].split("/")):  # would lead out of /v1/
            await Response(status_code=404)(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        await _unless_gone(lambda: self._answer(request, body, send), receive)

    async def _answer(self, request: Request, body: bytes, send: Send) -> None:
        caller = f"{request.headers.get('authorization', '')} {_host(request)}"
        key = await asyncio.to_thread(conversation_key, body, caller)
        candidates = self._pool.candidates(key)
        for number, address in enumerate(candidates, start=1):
            try:
                answer = await self._client.send(self._forwarded(request, body, address), stream=True)
            except httpx2.ReadTimeout:  # it works on it, and another one would take as long
                message = "The server did not answer in time; ask for a shorter answer, or for a streamed one."
                await _refusal(504, message, "timeout")(request.scope, request.receive, send)
                return
            except httpx2.TransportError as error:
                logger.info("%s: %s", address, type(error).__name__)
                self._pool.mark_down(address)
                continue
            try:
                if answer.status_code in _NOT_NOW and number < len(candidates):
                    continue
                await self._relay(answer, address, send)
                return
            finally:
                await answer.aclose()
        message = "None of the servers answers now; try again in a moment."
        await _refusal(503, message, "no_replica")(request.scope, request.receive, send)

    def _forwarded(self, request: Request, body: bytes, address: str) -> httpx2.Request:
        """What the caller sent, and nothing of the client's own: who did not ask for a packed answer gets a plain one."""
        headers = [(name, value) for name, value in request.headers.raw if name not in _OF_THE_CONNECTION]
        headers.append((b"x-forwarded-for", _host(request).encode()))
        if "accept-encoding" not in request.headers:
            headers.append((b"accept-encoding", b"identity"))
        path = request.scope.get("raw_path") or request.url.path.encode()
        query = request.scope.get("query_string") or b""
        target = address + (path + (b"?" + query if query else b"")).decode("ascii", "replace")
        return httpx2.Request(request.method, target, headers=headers, content=body or None)

    async def _relay(self, answer: httpx2.Response, address: str, send: Send) -> None:
        """Returning without the end of the body, when the server is lost, makes uvicorn break the caller's connection off."""
        headers = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _OF_THE_CONNECTION]
        if length := answer.headers.get("content-length"):
            headers.append((b"content-length", length.encode()))
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        try:
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except httpx2.ReadTimeout:
            return
        except httpx2.TransportError:
            self._pool.mark_down(address)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _unless_gone(work: Callable[[], Coroutine[None, None, None]], receive: Receive) -> None:
    """Do ``work``; cancel it when the caller goes away."""
    working, waiting = asyncio.create_task(work()), asyncio.create_task(_until_gone(receive))
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
    if not working.cancelled() and (error := working.exception()) is not None:
        raise error


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refusal(status: int, message: str, code: str) -> JSONResponse:
    """In the shape of OpenAI's API."""
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status, {"Retry-After": str(_RETRY_AFTER_S)})


def _host(request: Request) -> str:
    return request.client.host if request.client else ""
