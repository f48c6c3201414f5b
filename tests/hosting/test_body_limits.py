"""Bodies that are too long or never end, against a real server with short limits."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from ixc.hosting.access import Access, GuardedRoutes
from ixc.hosting.body_limits import BodyLimits, BodyRules
from ixc.hosting.body_room import BodyRoom
from tests.event_loops import run_apart
from tests.served import Server

RULES = BodyRules(
    max_upload_bytes=3_000_000,
    max_text_bytes=1000,
    max_page_bytes=900,
    max_page_parts=500,
    small_bytes=1000,
    num_largest_held=4,
    max_parts=5000,
)
HASTY_READER = replace(RULES, max_pause_s=0.3, free_s=0.6, min_bytes_per_s=1_000_000)
HASTY_WRITER = replace(RULES, max_wait_to_send_s=0.5)
"""Each for the tests of what it does not wait for: a busy machine may hold up any other for longer."""


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


async def flood(request: Request) -> StreamingResponse:
    """Answers without end, its body at hand all the while."""
    await request.body()

    async def parts():
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)  # others have their turn, also once the peer has gone

    return StreamingResponse(parts())


async def stream_for_long(_: Request) -> StreamingResponse:
    async def parts():
        for part in ("a", "b", "c"):
            time.sleep(0.35)  # longer than a body may pause
            yield part

    return StreamingResponse(parts())


@contextmanager
def served(rules: BodyRules) -> Iterator[tuple[str, int]]:
    routes = [
        Route("/v1/held", hold, methods=["POST"]),
        Route("/v1/flood", flood, methods=["POST"]),
        guarded := Route("/v1/guarded/held", hold, methods=["POST"]),
        Route("/{path:path}", count, methods=["POST"]),
        Route("/long", stream_for_long),
    ]
    guard = Middleware(GuardedRoutes, access=Access(keys=(KEY,)), routes=[guarded])
    app = Starlette(routes=routes, middleware=[guard, Middleware(BodyLimits, rules=rules)])
    with Server(app) as server:
        yield server.address


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with served(RULES) as address:
        yield address


@pytest.fixture(scope="module")
def hasty_reader() -> Iterator[tuple[str, int]]:
    with served(HASTY_READER) as address:
        yield address


@pytest.fixture
def hasty_writer() -> Iterator[tuple[str, int]]:
    with served(HASTY_WRITER) as address:
        yield address


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
        ("/gradio_api/queue/join", 900, True),
        ("/gradio_api/queue/join", 901, False),
        ("/gradio_api/call/plan", 901, False),
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


@pytest.mark.parametrize(
    ("path", "num_parts", "is_allowed"),
    [
        ("/v1/chat/completions", 5000, True),
        ("/v1/chat/completions", 5001, False),
        ("/gradio_api/call/plan", 500, True),
        ("/gradio_api/call/plan", 501, False),
    ],
)
def test_a_body_of_very_many_parts_is_refused_before_it_is_parsed(address, path, num_parts, is_allowed):
    body = b"[" + b"{" + b"," * (num_parts - 2) + b"x" * (100_000 if path.startswith("/v1") else 100)
    with connect(address, path, f"Connection: close\r\nContent-Length: {len(body)}") as peer:
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
def test_a_body_that_never_comes_is_given_up(hasty_reader, is_dripping):
    """Silent after the headers; or a byte every now and then, which no pause gives away."""
    with connect(hasty_reader, "/gradio_api/upload", "Content-Length: 1000") as peer:
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


def test_callers_who_never_read_their_answers_are_given_up(hasty_writer):
    """Else two of them would hold the room of a network for ever."""
    largest, deadline_s = 4_001_000, time.monotonic() + 20
    headers = f"Connection: close\r\nContent-Length: {largest}"
    with ExitStack() as stack:
        for _ in range(2):
            peer = stack.enter_context(connect(hasty_writer, "/v1/flood", headers))
            peer.sendall(b" " * largest)
            assert peer.recv(12) == b"HTTP/1.1 200"  # and no more
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200") and time.monotonic() < deadline_s:
            with connect(hasty_writer, "/v1/chat/completions", headers) as peer, suppress(ConnectionError):
                peer.sendall(b" " * largest)
                answer = answer_to(peer)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]


def test_a_caller_who_reads_slowly_gets_the_whole_answer():
    """Each piece of it is taken in time, all of them together take longer than one may."""

    async def scene():
        async def answer(scope, receive, send):
            for number in range(15):
                await send({"type": "http.response.body", "body": b"x", "more_body": number < 14})

        async def take_slowly(message):
            now_s[0] += 0.9 * RULES.max_wait_to_send_s
            for _ in range(3):
                await asyncio.sleep(0)  # whatever is due by now happens
            taken.append(message)

        taken, now_s = [], [0.0]
        asyncio.get_running_loop().time = lambda: now_s[0]
        scope = {"type": "http", "path": "/v1/x", "headers": [], "client": ("198.51.100.1", 1)}
        await BodyLimits(answer, RULES)(scope, asyncio.Event().wait, take_slowly)
        assert len(taken) == 15

    run_apart(scene())


def test_a_machine_s_many_addresses_have_one_share_of_the_room():
    async def scene():
        async def hold(scope, receive, send):
            if (await receive())["type"] == "http.request":  # else it was refused
                arrived.release()
                await asyncio.Event().wait()

        async def receive():
            return {"type": "http.request", "body": b" " * 4_001_000, "more_body": False}

        async def note(message):
            statuses.append(message.get("status"))

        def ask(address):
            return limits({"type": "http", "path": "/v1/x", "headers": [], "client": (address, 1)}, receive, note)

        limits, arrived, statuses = BodyLimits(hold, RULES), asyncio.Semaphore(0), []
        held = [asyncio.create_task(ask(f"2001:db8:0:1::{number}")) for number in (1, 2)]
        async with asyncio.timeout(20):
            for _ in held:
                await arrived.acquire()
            third = asyncio.create_task(ask("2001:db8:0:1::3"))
            await asyncio.wait([third, other := asyncio.create_task(arrived.acquire())], return_when=asyncio.FIRST_COMPLETED)
        other.cancel()
        assert third.done()
        assert statuses[0] == 503
        for task in held:
            task.cancel()

    run_apart(scene())


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


def test_an_answer_may_take_as_long_as_it_likes(hasty_reader):
    with socket.create_connection(hasty_reader, timeout=20) as peer:
        peer.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer_to(peer).endswith(b"0\r\n\r\n")
