"""Bodies that are too long or never end, against a real server with short limits."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ixc.hosting.access import Access, GuardedRoutes
from ixc.hosting.body_limits import BodyLimits, BodyRules
from ixc.hosting.body_room import BodyRoom
from ixc.hosting.upload_room import UploadLimits, UploadRoom

RULES = BodyRules(
    max_upload_bytes=3_000_000,
    max_text_bytes=1000,
    max_pause_s=0.3,
    free_s=0.6,
    min_bytes_per_s=1_000_000,
    small_bytes=1000,
    num_largest_held=4,
    max_parts=5000,
)


async def count(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


KEY = "sixteen-signs-or-more"
ARRIVED, GO_ON = threading.Semaphore(0), threading.Event()


async def hold(request: Request) -> PlainTextResponse:
    """Answers once it may, its body at hand all the while."""
    body = await request.body()
    ARRIVED.release()
    await asyncio.to_thread(GO_ON.wait, 20)
    return PlainTextResponse(str(len(body)))


async def stream_for_long(_: Request) -> StreamingResponse:
    async def parts():
        for part in ("a", "b", "c"):
            time.sleep(0.35)  # longer than a body may pause
            yield part

    return StreamingResponse(parts())


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    routes = [
        Route("/v1/held", hold, methods=["POST"]),
        guarded := Route("/v1/guarded/held", hold, methods=["POST"]),
        Route("/{path:path}", count, methods=["POST"]),
        Route("/long", stream_for_long),
    ]
    guard = Middleware(GuardedRoutes, access=Access(keys=(KEY,)), routes=[guarded])
    app = Starlette(routes=routes, middleware=[guard, Middleware(BodyLimits, rules=RULES)])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(10)


def connect(address, path: str, headers: str) -> socket.socket:
    peer = socket.create_connection(address, timeout=20)
    peer.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
    return peer


def answer_to(peer: socket.socket) -> bytes:
    parts = []
    try:
        while part := peer.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass  # it hung up on what was still coming
    return b"".join(parts)


@pytest.mark.parametrize(
    ("path", "num_bytes", "is_allowed"),
    [
        ("/gradio_api/queue/join", 1000, True),
        ("/gradio_api/queue/join", 1001, False),
        ("/gradio_api/upload", 3_000_000, True),
        ("/gradio_api/upload", 4_100_000, False),
        ("/v1/chat/completions", 4_001_000, True),  # 3 MB are 4 MB in base64
        ("/v1/chat/completions", 4_001_001, False),
        ("/mcp", 4_001_001, False),
    ],
)
def test_each_address_has_its_limit(address, path, num_bytes, is_allowed):
    with connect(address, path, f"Connection: close\r\nContent-Length: {num_bytes}") as peer:
        if is_allowed:
            peer.sendall(b" " * num_bytes)
        answer = answer_to(peer)  # what is too long is refused before it is sent
    assert answer.startswith(b"HTTP/1.1 200" if is_allowed else b"HTTP/1.1 413"), answer[:200]
    assert is_allowed or b"send a smaller image" in answer


@pytest.mark.parametrize(("num_parts", "is_allowed"), [(5000, True), (5001, False)])
def test_a_body_of_very_many_parts_is_refused_before_it_is_parsed(address, num_parts, is_allowed):
    body = b"[" + b"{" + b"," * (num_parts - 2) + b"x" * 100_000
    with connect(address, "/v1/chat/completions", f"Connection: close\r\nContent-Length: {len(body)}") as peer:
        with suppress(ConnectionError):
            peer.sendall(body)
        answer = answer_to(peer)
    assert answer.startswith(b"HTTP/1.1 200" if is_allowed else b"HTTP/1.1 413"), answer[:200]
    assert is_allowed or b"too many parts" in answer


def test_a_body_of_unknown_length_is_cut_off(address):
    with connect(address, "/gradio_api/queue/join", "Transfer-Encoding: chunked") as peer:
        peer.sendall(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
        assert answer_to(peer).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("is_dripping", [False, True])
def test_a_body_that_never_comes_is_given_up(address, is_dripping):
    """Silent after the headers; or a byte every now and then, which no pause gives away."""
    with connect(address, "/gradio_api/upload", "Content-Length: 1000") as peer:
        peer.settimeout(0.1)
        deadline_s, answer = time.monotonic() + 10, b""
        while not answer and time.monotonic() < deadline_s:
            try:
                if is_dripping:
                    peer.sendall(b"x")
                answer = peer.recv(1000)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("path", "key", "num_held"), [("/v1/held", "", 2), ("/v1/guarded/held", f"Authorization: Bearer {KEY}\r\n", 4)]
)
def test_large_bodies_from_one_address_fit_into_memory_together(address, path, key, num_held):
    """Two of four million bytes are held here while their answers are awaited; what would be a third is told to come back.

    Who has a key may send four.
    """
    largest = 4_001_000
    headers = f"Connection: close\r\nContent-Length: {largest}"
    GO_ON.clear()
    with ExitStack() as stack:
        waiting = []
        for _ in range(num_held):
            waiting.append(stack.enter_context(connect(address, path, key + headers)))
            waiting[-1].sendall(b" " * largest)
            assert ARRIVED.acquire(timeout=10)
        with connect(address, "/v1/chat/completions", headers) as next_one:
            with suppress(ConnectionError):  # it may hang up on what is still coming
                next_one.sendall(b" " * largest)
            refused = answer_to(next_one)
        with connect(address, "/v1/chat/completions", "Connection: close\r\nContent-Length: 1000") as small:
            small.sendall(b" " * 1000)
            assert answer_to(small).startswith(b"HTTP/1.1 200")
        GO_ON.set()
        assert all(answer_to(peer).startswith(b"HTTP/1.1 200") for peer in waiting)
    assert refused.startswith(b"HTTP/1.1 503"), refused[:200]
    assert b"retry-after: 60" in refused
    with connect(address, "/v1/chat/completions", headers) as peer:  # their room is free again
        peer.sendall(b" " * largest)
        assert answer_to(peer).startswith(b"HTTP/1.1 200")


def test_room_is_for_all_callers_and_for_each():
    room = BodyRoom(max_bytes=10, max_bytes_each=6)
    assert room.take("a", 6)
    assert not room.take("a", 1)
    assert not room.take("b", 5)
    assert room.take("b", 4)
    assert not room.take("c", 1)
    assert not room.take(None, 1)
    room.give_back("a", 6)
    assert room.take("c", 6)
    room.give_back("c", 6)
    room.give_back("b", 4)
    assert room.take(None, 10)
    assert not room.take("a", 1)


def test_an_answer_may_take_as_long_as_it_likes(address):
    with socket.create_connection(address, timeout=20) as peer:
        peer.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer_to(peer).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("root_path", ["", "/some/path"])
def test_uploads_are_refused_while_too_many_wait_to_be_opened(tmp_path, root_path):
    held: set[str] = set()
    limits = UploadLimits(max_file_bytes=10, max_files=3, max_age_s=100, num_largest=4)
    app = Starlette(
        routes=[Route("/gradio_api/upload", count, methods=["POST"])],
        middleware=[Middleware(UploadRoom, uploads=lambda: held, limits=limits)],
    )

    def hold(name: str, num_bytes: int, age_s: float = 0) -> None:
        path = tmp_path / name
        path.write_bytes(b"x" * num_bytes)
        then_s = time.time() - age_s
        os.utime(path, (then_s, then_s))
        held.add(str(path))

    with TestClient(app, root_path=root_path) as client:

        def status() -> int:
            return client.post(f"{root_path}/gradio_api/upload", content=b"x").status_code

        hold("largest", 30)
        assert status() == 200
        hold("one more byte", 1)
        assert status() == 503  # 30 + 1 + the 10 that may be coming > 40
        (tmp_path / "largest").unlink()  # it was opened
        assert status() == 200
        assert held == {str(tmp_path / "one more byte")}
        hold("b", 1)
        hold("c", 1)
        assert status() == 503  # three wait, a fourth would come
        hold("c", 1, age_s=101)
        assert status() == 200
        assert not (tmp_path / "c").exists()
