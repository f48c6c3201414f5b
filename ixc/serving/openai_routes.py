"""``/v1/models``, each model below it, and ``/v1/chat/completions``, compatible with OpenAI's clients; no more of ``/v1``.

Beyond OpenAI's fields: ``max_patches``, ``repetition_penalty`` and ``num_beams`` in the request, ``timings`` in the answer.
The budget may also stand where vLLM's requests have it, in ``mm_processor_kwargs``.
Nothing is kept but the bounded caches by which the next turn of a conversation is faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Match, Route

from ixc.application.event_pump import EventPump
from ixc.chat.events import Event, Finished, PrefillProgress, TextDelta
from ixc.serving.answers import Answering, stop_when_gone
from ixc.serving.callers import share_caller
from ixc.serving.openai_answer import WAITING, Completion, error_body, error_chunk, refusal
from ixc.serving.openai_request import ChatCompletion, ModelNotFound
from ixc.serving.request_body import BodyRefused, read_json

_RETRY_AFTER_S = 5
_SILENCE_S = 10.0
"""After so long a stream says that it goes on. Servers between that cut silent ones commonly wait for 60 seconds."""
_ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MAX_SHOWN_CHARS = 80
_SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def openai_routes(answering: Answering) -> list[Route]:
    """The routes, for a Starlette app."""
    calls = OpenAiCalls(answering)
    routes = [
        Route("/v1/models", calls.models, methods=["GET"]),
        Route("/v1/models/{model:path}", calls.model, methods=["GET"]),
        Route("/v1/chat/completions", calls.chat_completions, methods=["POST"]),
    ]

    async def elsewhere(request: Request) -> JSONResponse:
        """What no route takes: in OpenAI's shape, which its clients show."""
        path = f"/v1/{request.path_params['path']}"[:_MAX_SHOWN_CHARS]
        there = [route for route in routes if route.matches(request.scope)[0] is Match.PARTIAL]
        if there:
            methods = ", ".join(sorted(there[0].methods or ()))
            message = f"{path} takes {methods}, not {request.method}."
            return JSONResponse(refusal(message, "method_not_supported"), 405, {"Allow": methods})
        return JSONResponse(refusal(f"There is no {path} here; ask /v1/chat/completions.", "unknown_url"), 404)

    return [*routes, Route("/v1/{path:path}", elsewhere, methods=_ANY_METHOD)]


class OpenAiCalls:
    """The calls. Every error reaches the caller as one sentence in OpenAI's shape."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._services = answering.services

    async def models(self, _: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> JSONResponse:
        """The model by its name, which may be a path."""
        named = request.path_params["model"]
        if not named:
            return await self.models(request)
        try:
            self._answering.check_model(named)
        except ModelNotFound as error:
            return _error_response(error)
        return JSONResponse(self._model())

    def _model(self) -> dict[str, object]:
        status = self._services.provider.status
        return {
            "id": status.api_name,
            "object": "model",
            "created": 0,
            "owned_by": "ixc",
            "name": status.name,
            "ixc": self._facts(),
        }

    def _facts(self) -> dict[str, object]:
        """What another copy of this app, which uses this one as its backend, shows and sends."""
        status, engine = self._services.provider.status, self._services.provider.engine
        layout = {"kind": str(status.layout.kind), "view_px": status.layout.view_px}
        if engine is None:
            return {"ready": False, "layout": layout, "note": status.note}
        return {
            "ready": True,
            "layout": layout,
            "note": status.note,
            "system": engine.default_system,
            "max_patches": engine.default_max_patches,
            "sees_one_image": engine.info.sees_one_image,
            "max_context_tokens": engine.info.max_context_tokens,
            "generation": asdict(engine.default_generation),
        }

    async def chat_completions(self, request: Request) -> Response:
        try:
            body = await read_json(request)
            asked = await self._answering.parse(body, share_caller(request))
            self._answering.check_model(asked.model)
        except BodyRefused as error:
            return JSONResponse(refusal(str(error), error.code), error.status, {"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:  # noqa: BLE001  told from the foreseen ones in error_body
            return _error_response(error)
        pump = self._answering.pump(asked, request, by_no_other=True)
        return await (self._streamed if asked.streams else self._whole)(request, asked, pump)

    async def _whole(self, request: Request, asked: ChatCompletion, pump: EventPump) -> Response:
        """Wait for the whole answer; a caller who has gone is not answered further."""
        gone = asyncio.create_task(stop_when_gone(request, pump))
        text = ""
        try:
            async for event in pump.events():
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Finished):
                    return JSONResponse(Completion(asked.model).whole(text, event))
        except Exception as error:  # noqa: BLE001
            return _error_response(error)
        finally:
            gone.cancel()
        return Response(status_code=500)

    async def _streamed(self, request: Request, asked: ChatCompletion, pump: EventPump) -> Response:
        """Server-sent events. What is refused before the first of them, or before a silence, has a status of its own."""
        gone = asyncio.create_task(stop_when_gone(request, pump))
        events = pump.events(_SILENCE_S)
        try:
            first = await anext(events)
        except Exception as error:  # noqa: BLE001
            return _error_response(error)
        finally:
            gone.cancel()
        return StreamingResponse(_chunks(asked, first, events), media_type="text/event-stream", headers=_SSE_HEADERS)


async def _chunks(asked: ChatCompletion, first: Event | None, events: AsyncIterator[Event | None]) -> AsyncIterator[str]:
    completion = Completion(asked.model)
    try:
        yield completion.chunk({"role": "assistant", "content": ""})
        yield _chunk(completion, asked, first)
        async for event in events:
            yield _chunk(completion, asked, event)
    except Exception as error:  # noqa: BLE001  the status is sent already
        yield error_chunk(error)
    finally:
        await events.aclose()  # sets the stop flag when the caller has gone


def _chunk(completion: Completion, asked: ChatCompletion, event: Event | None) -> str:
    if event is None:
        return WAITING
    if isinstance(event, TextDelta):
        return completion.chunk({"content": event.text})
    if isinstance(event, Finished):
        return completion.last_chunk(event, includes_usage=asked.includes_usage)
    if isinstance(event, PrefillProgress):  # a comment to SSE clients: keeps the connection alive, tells the curious
        return f": {event.stage} {event.num_done}/{event.num_total}\n\n"
    return ""


def _error_response(error: Exception) -> JSONResponse:
    status, body = error_body(error)
    return JSONResponse(body, status, {"Retry-After": str(_RETRY_AFTER_S)} if status in (429, 503) else None)
