"""Who is still sending when a request is refused, as nginx is, gets the answer: the server does not hang up on it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ixc.hosting.body_limits import BodyLimits, BodyRules
from tests.served import Server

LARGEST = 4_001_000
RULES = BodyRules(max_upload_bytes=3_000_000, max_text_bytes=1000, max_page_bytes=900)
TOO_LONG = 2 * LARGEST


async def count(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def refuse(_: Request) -> PlainTextResponse:
    return PlainTextResponse("Not this.", 415, {"Connection": "close"})


def served(rules: BodyRules) -> Server:
    routes = [Route("/v1/refused", refuse, methods=["POST"]), Route("/{path:path}", count, methods=["POST"])]
    return Server(Starlette(routes=routes, middleware=[Middleware(BodyLimits, rules=rules)]))


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
    ],
)
@pytest.mark.parametrize("is_announced", [True, False], ids=["of known length", "in chunks"])
def test_who_sends_everything_first_reads_the_refusal(server, path, num_bytes, status, is_announced):
    headers = f"Content-Length: {num_bytes}" if is_announced else "Transfer-Encoding: chunked"
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
    for rules in (replace(RULES, max_linger_s=0.3), replace(RULES, max_upload_bytes=1000, max_linger_s=20)):
        with served(rules) as server, asking(server, "/gradio_api/queue/join", "Transfer-Encoding: chunked") as peer:
            peer.sendall(b"2710\r\n" + b" " * 10_000)
            assert peer.recv(12) == b"HTTP/1.1 413"
            with pytest.raises(ConnectionError):
                send_for_ever(peer)


def test_who_waits_with_sending_is_not_made_to_wait(server):
    with asking(server, "/v1/chat/completions", f"Expect: 100-continue\r\nContent-Length: {TOO_LONG}") as peer:
        answer = to_the_end(peer)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer
