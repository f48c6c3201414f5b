"""Who is still sending when a request is refused, as nginx is, gets the answer: the server does not hang up on it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ixc.hosting.access import Access, GuardedRoutes
from ixc.hosting.body_limits import BodyLimits, BodyRules
from ixc.hosting.early_answers import EarlyAnswers, LingerLimits
from ixc.hosting.origins import OnlyOwnPages, Origins
from tests.served import Server

LARGEST = 4_001_000
RULES = BodyRules(max_upload_bytes=3_000_000, max_text_bytes=1000, max_page_bytes=900)
TOO_LONG = 2 * LARGEST


async def count(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def refuse(_: Request) -> PlainTextResponse:
    return PlainTextResponse("Not this.", 415)


def served(rules: BodyRules, linger: LingerLimits | None = None) -> Server:
    """As the app has it, and with the same order."""
    guarded = Route("/v1/guarded", count, methods=["POST"])
    routes = [guarded, Route("/v1/refused", refuse, methods=["POST"]), Route("/{path:path}", count, methods=["POST"])]
    middleware = [
        Middleware(EarlyAnswers, limits=linger or rules.linger),
        Middleware(GuardedRoutes, access=Access(keys=("sixteen-signs-or-more",)), routes=[guarded]),
        Middleware(OnlyOwnPages, origins=Origins()),
        Middleware(BodyLimits, rules=rules),
    ]
    return Server(Starlette(routes=routes, middleware=middleware))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served(RULES) as running:
        yield running


@contextlib.contextmanager
def asking(server: Server, path: str, headers: str) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=20) as peer:
        peer.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
        yield peer


def to_the_end(peer: socket.socket) -> bytes:
    parts = []
    while part := peer.recv(65536):
        parts.append(part)
    return b"".join(parts)


def chunks(num_bytes: int) -> Iterator[bytes]:
    for _ in range(num_bytes // 10_000):
        yield b"2710\r\n" + b" " * 10_000 + b"\r\n"
    yield b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "num_bytes", "status"),
    [
        ("/v1/chat/completions", TOO_LONG, b"413"),
        ("/gradio_api/queue/join", TOO_LONG, b"413"),
        ("/gradio_api/upload", TOO_LONG, b"413"),
        ("/v1/refused", LARGEST, b"415"),
        ("/v1/guarded", LARGEST, b"401"),
        ("/elsewhere", LARGEST, b"403"),
    ],
)
@pytest.mark.parametrize("is_announced", [True, False], ids=["of known length", "in chunks"])
def test_who_sends_everything_first_reads_the_refusal(server, path, num_bytes, status, is_announced):
    headers = f"Content-Length: {num_bytes}" if is_announced else "Transfer-Encoding: chunked"
    if status == b"403":
        headers += "\r\nOrigin: https://elsewhere.example"
    with asking(server, path, headers) as peer:
        for piece in [b" " * num_bytes] if is_announced else chunks(num_bytes):
            peer.sendall(piece)  # ConnectionError where the server has hung up
        answer = to_the_end(peer)
    assert answer.startswith(b"HTTP/1.1 " + status)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()


def send_for_ever(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"\r\n2710\r\n" + b" " * 10_000)


def test_what_does_not_fit_into_memory_now_is_read_away_too():
    """A network has half of the room."""
    headers = f"Content-Length: {LARGEST}"
    with served(replace(RULES, num_largest_held=1)) as server, asking(server, "/v1/chat/completions", headers) as peer:
        peer.sendall(b" " * LARGEST)
        assert to_the_end(peer).startswith(b"HTTP/1.1 503")


def test_a_body_without_an_end_is_not_read_for_ever():
    """Neither in bytes nor in time; the answer is there from the beginning."""
    for linger in (replace(RULES.linger, max_s=0.3), LingerLimits(max_bytes=20_000, max_s=20)):
        for path, status in (("/gradio_api/queue/join", b"413"), ("/v1/guarded", b"401")):
            with served(RULES, linger) as server, asking(server, path, "Transfer-Encoding: chunked") as peer:
                peer.sendall(b"2710\r\n" + b" " * 10_000)
                assert peer.recv(12) == b"HTTP/1.1 " + status
                with pytest.raises(ConnectionError):
                    send_for_ever(peer)


def test_only_an_answer_that_comes_too_early_ends_the_connection(server):
    """What has no body, and a body that was read, leave it to the next request."""
    with httpx.Client(base_url=server.url) as client:
        assert "connection" not in client.get("/v1/guarded").headers
        assert "connection" not in client.post("/v1/other", content=b"all of it").headers
        assert client.post("/v1/guarded", content=b"nobody reads it").headers["connection"] == "close"


def test_who_waits_with_sending_is_not_made_to_wait(server):
    with asking(server, "/v1/chat/completions", f"Expect: 100-continue\r\nContent-Length: {TOO_LONG}") as peer:
        answer = to_the_end(peer)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer
