"""The real ``spaces`` package looks for the visitor of a call that is not Gradio's."""

import pytest
from spaces.utils import gradio_request_var
from spaces.zero.client import TOKEN_HEADER, _get_headers
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ixc.application.event_pump import EventPump
from ixc.chat.events import AnswerStats, Finished, FinishReason, TextDelta
from ixc.chat.request import StopFlag
from ixc.hosting.space.visitor import VisitorOfGpu


async def visitor(_) -> PlainTextResponse:
    def events():
        request = gradio_request_var().get(None)
        yield TextDelta(_get_headers(request).get(TOKEN_HEADER.lower(), "nobody's"))
        yield Finished(FinishReason.STOPPED, AnswerStats(None, 0, 0, 0, None, 0))

    first, *_ = [event async for event in EventPump(events, StopFlag()).events()]
    return PlainTextResponse(first.text)


@pytest.mark.parametrize(
    ("path", "headers", "whose"),
    [
        ("/v1/chat/completions", {"X-IP-Token": "token-of-alice"}, "token-of-alice"),
        ("/mcp", {"X-IP-Token": "token-of-alice"}, "token-of-alice"),
        ("/v1/chat/completions", {}, "nobody's"),
        ("/gradio_api/x", {"X-IP-Token": "token-of-alice"}, "nobody's"),  # there Gradio sets it
    ],
)
def test_the_gpu_is_counted_for_who_asked(path, headers, whose):
    app = Starlette(routes=[Route("/{path:path}", visitor)], middleware=[Middleware(VisitorOfGpu)])
    with TestClient(app) as client:
        assert client.get(path, headers=headers).text == whose
