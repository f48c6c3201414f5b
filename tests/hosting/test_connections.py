"""Connections that never finish their headers, against a real uvicorn."""

from __future__ import annotations

import logging
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ixc.benchmarks.app_process import AppProcess
from ixc.hosting.connections import BoundedConnection, ConnectionLimits
from ixc.hosting.logs import OnceAMinute
from tests.served import Server

WITHIN_S = 0.5
BEGUN = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "


class Impatient(BoundedConnection):
    limits = ConnectionLimits(headers_within_s=WITHIN_S, silent_after_s=WITHIN_S / 2, max_each=3)


class Patient(BoundedConnection):
    limits = ConnectionLimits(headers_within_s=60, silent_after_s=0.1, max_each=3)


class Unhurried(BoundedConnection):
    limits = ConnectionLimits(max_each=3)


@contextmanager
def serving(protocol: type[BoundedConnection], **options: int) -> Iterator[tuple[str, int]]:
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])
    with Server(app, http=protocol, **options) as server:
        yield server.address


def connect(address: tuple[str, int], sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    peer = socket.create_connection(address, timeout=20, source_address=(source, 0))
    peer.sendall(sent)
    return peer


def rest_of(peer: socket.socket) -> bytes:
    """Up to the end that the server makes; a timeout when it makes none."""
    parts = []
    try:
        while part := peer.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize("sent", [b"", BEGUN, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"], ids=["nothing", "half", "second"])
def test_a_connection_whose_headers_never_end_is_closed(sent):
    """What comes together with the request before is uvicorn's to close."""
    with serving(Impatient, timeout_keep_alive=1) as address, connect(address, sent) as peer:
        answers = rest_of(peer)
    assert answers.count(b"HTTP/1.1 200") == (1 if sent.startswith(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") else 0)


def test_letters_now_and_then_keep_no_connection_open():
    with serving(Impatient) as address, connect(address, BEGUN) as peer:
        started_s, peer_is_there = time.monotonic(), True
        peer.settimeout(WITHIN_S / 10)
        while peer_is_there and time.monotonic() < started_s + 20:
            try:
                peer.sendall(b"x")
                peer_is_there = peer.recv(1) != b""
            except TimeoutError:
                continue
            except OSError:
                peer_is_there = False
    assert not peer_is_there


def test_a_whole_request_is_answered_and_its_connection_used_again():
    with serving(Unhurried) as address, connect(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as peer:
        answer = b""
        while not answer.endswith(b"here"):
            part = peer.recv(1000)
            assert part
            answer += part
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert rest_of(peer).endswith(b"here")


def test_of_one_address_s_silent_connections_the_oldest_goes_and_others_stay():
    with serving(Patient) as address, ExitStack() as open_ones:
        elsewhere = open_ones.enter_context(connect(address, BEGUN, "127.0.0.2"))
        silent = [open_ones.enter_context(connect(address, BEGUN)) for _ in range(3)]
        fourth = open_ones.enter_context(connect(address, b"GET / "))
        assert rest_of(silent[0]) == b""
        fourth.sendall(b"HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert rest_of(fourth).endswith(b"here")
        for peer in (elsewhere, *silent[1:]):
            peer.sendall(b"x\r\nConnection: close\r\n\r\n")
            assert rest_of(peer).endswith(b"here")


def test_many_connections_that_ask_at_once_are_all_answered():
    """As a server in front makes them, all from its one address. That they are accepted is not yet that they were read."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with serving(Unhurried) as address, ExitStack() as open_ones:
        peers = [open_ones.enter_context(connect(address)) for _ in range(50)]
        for peer in peers:
            peer.sendall(request)
        assert all(rest_of(peer).endswith(b"here") for peer in peers)


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def test_a_process_of_few_files_is_reached_while_more_silent_connections_are_tried():
    """From five addresses, of which each may have 64; 256 files are all there are."""
    with AppProcess({"IXC_MODEL": "no-such-model"}, few_files) as app, ExitStack() as open_ones:
        deadline_s = time.monotonic() + 60
        while "the page is at" not in app.log():  # Gradio asks its own server at the start, and gives up where it is not heard
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        url = httpx.URL(app.url)
        for number in range(300):
            source = f"127.0.0.{2 + number % 5}"
            open_ones.enter_context(connect((url.host, url.port), BEGUN, source))
        assert httpx.get(f"{app.url}/health/live", timeout=15).status_code == 200
        assert len(app.log()) < 20_000


def test_a_server_may_open_as_many_files_as_the_system_lets_it():
    program = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (200, min(hard, 5000)))
from ixc.hosting.connections import bound_connections
bound_connections()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert told[0] == told[1]


def test_lines_that_anybody_can_cause_come_once_a_minute_without_a_users_words():
    now_s = 100.0
    once = OnceAMinute(lambda: now_s)

    def record(text: str, error: Exception | None = None) -> logging.LogRecord:
        exc_info = (type(error), error, error.__traceback__) if error else None
        return logging.LogRecord("asyncio", logging.ERROR, "", 0, text, (), exc_info)

    lost = [record(f"socket.accept() out of system resource\nsocket: {number}") for number in range(1000)]
    assert [once.filter(each) for each in lost] == [True] + [False] * 999
    failed = record("Task exception was never retrieved\nfuture: ValueError('my diagnosis')", ValueError("my diagnosis"))
    assert once.filter(failed), "another kind"
    assert failed.getMessage() == "Task exception was never retrieved"
    assert failed.raised == "ValueError"
    assert failed.exc_info is None
    now_s = 160.0
    later = record("socket.accept() out of system resource\nsocket: 1000")
    assert once.filter(later)
    assert later.more_since_the_last == 999
