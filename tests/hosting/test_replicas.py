"""Two servers behind one address: conversations stay where they began, and go elsewhere only when their server is lost."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from ixc.errors import SettingsError
from ixc.hosting.replicas.affinity import conversation_key, rank
from ixc.hosting.replicas.pool import parse_address
from ixc.hosting.replicas.server import replica_app
from ixc.settings import ImageLimits
from tests.served import Server

PATIENCE_S = 20


def serve(app: Starlette, port: int = 0) -> Server:
    """As one that is lost: nobody's answer is waited for. uvicorn believes what loopback, all there is here, says of others."""
    return Server(app, port, timeout_graceful_shutdown=0, proxy_headers=False)


class Replica:
    """Answers with its name. A streamed answer goes on until the caller leaves, which it notes."""

    def __init__(self, name: str) -> None:
        self.name, self.status = name, 200
        self.left: queue.Queue[str] = queue.Queue()
        self.seen: list[Request] = []
        self.checks: list[Request] = []
        self.app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/v1/models", lambda _: JSONResponse({"data": [{"id": name}]}, headers={"X-Own": "kept"})),
                Route("/v1/chat/completions", self.answer, methods=["POST"]),
            ]
        )
        self.server = serve(self.app)

    def health(self, request: Request) -> JSONResponse:
        self.checks.append(request)
        return JSONResponse({}, self.status, {"Set-Cookie": "who=a-check; Path=/"})

    async def answer(self, request: Request):
        body = await request.json()
        self.seen.append(request)
        if self.status != 200:
            return JSONResponse({"error": {"message": "Loading."}}, self.status)
        if body.get("slow"):
            await asyncio.Event().wait()
        if not body.get("stream"):
            cookie = {"Set-Cookie": "who=somebody-before; Path=/"}
            return JSONResponse({"name": self.name, "query": str(request.url.query)}, headers=cookie)
        return StreamingResponse(self._words(request, body), media_type="text/event-stream")

    async def _words(self, request: Request, body: dict) -> Iterator[str]:
        yield f"data: {self.name}\n\n"
        try:
            while not await request.is_disconnected():
                if not body.get("silent"):
                    yield "data: more\n\n"
        finally:
            self.left.put(self.name)

    def come_back(self) -> None:
        self.server = serve(self.app, self.server.port)


@pytest.fixture
def replicas() -> Iterator[dict[str, Replica]]:
    both = {name: Replica(name) for name in ("a", "b")}
    yield both
    for replica in both.values():
        replica.server.stop()


@pytest.fixture
def proxy(replicas) -> Iterator[httpx.Client]:
    urls = [replica.server.url for replica in replicas.values()]
    with (
        serve(replica_app(urls, ImageLimits(max_bytes=1_000_000), check_every_s=0.05)) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client,
    ):
        yield client


def conversation(number: int, num_turns: int = 1, **more) -> dict:
    messages = [{"role": "system", "content": "Be brief."}]
    for turn in range(num_turns):
        messages += [{"role": "user", "content": f"{number}: question {turn}"}, {"role": "assistant", "content": "yes"}]
    return {"model": "m", "messages": messages[:-1], **more}


def ask(proxy: httpx.Client, number: int, num_turns: int = 1) -> str:
    return proxy.post("/v1/chat/completions", json=conversation(number, num_turns)).raise_for_status().json()["name"]


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, what


def states(proxy: httpx.Client) -> list[str]:
    return sorted(proxy.get("/health").json()["replicas"].values())


def test_a_conversation_stays_where_it_began_and_all_servers_work(proxy):
    where = {number: {ask(proxy, number, turns) for turns in (1, 2, 5)} for number in range(24)}
    assert all(len(names) == 1 for names in where.values())
    assert Counter(name for names in where.values() for name in names).keys() == {"a", "b"}


def test_requests_and_answers_pass_unchanged_but_for_the_hop(proxy, replicas):
    answer = proxy.get("/v1/models")
    assert answer.headers["x-own"] == "kept"
    assert answer.json()["data"][0]["id"] in replicas
    headers = {"Authorization": "Bearer key", "Proxy-Authorization": "secret", "X-Forwarded-For": "forged"}
    answer = proxy.post("/v1/chat/completions?a=b%20c", json=conversation(1), headers=headers)
    assert answer.json()["query"] == "a=b%20c"
    (seen,) = [request for replica in replicas.values() for request in replica.seen]
    assert seen.headers["authorization"] == "Bearer key"
    assert "proxy-authorization" not in seen.headers
    assert seen.headers.getlist("x-forwarded-for") == ["127.0.0.1"]
    assert first_bytes(proxy, b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 20000000").startswith(b"HTTP/1.1 413")
    for outside in (b"/metrics", b"/v1/../health", b"/v1/%2e%2e/health"):  # only what is below /v1/ is handed on
        assert first_bytes(proxy, b"GET " + outside + b" HTTP/1.1").startswith(b"HTTP/1.1 404")


def test_nothing_is_added_to_a_request_not_even_anothers_cookie(proxy, replicas):
    """What stands before a server may tell callers apart by cookies, and packs answers for who is said to unpack them."""
    body = json.dumps(conversation(1)).encode()
    for _ in range(2):
        first_bytes(proxy, b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d" % len(body), body)
    *_, seen = [request for replica in replicas.values() for request in replica.seen]
    assert set(seen.headers) == {"host", "content-length", "x-forwarded-for", "accept-encoding"}
    assert seen.headers["accept-encoding"] == "identity"
    proxy.post("/v1/chat/completions", json=conversation(1), headers={"Accept-Encoding": "zstd", "Cookie": "own=1"})
    *_, seen = [request for replica in replicas.values() for request in replica.seen]
    assert (seen.headers["accept-encoding"], seen.headers["cookie"]) == ("zstd", "own=1")


def test_a_check_carries_no_cookie_of_a_caller_or_an_earlier_check(proxy, replicas):
    for number in range(24):  # to both, each with the answer's cookie
        ask(proxy, number)
    before = {name: len(replica.checks) for name, replica in replicas.items()}
    for name, replica in replicas.items():
        wait_until(lambda name=name, replica=replica: len(replica.checks) > before[name] + 1, "another check")
        assert [check for check in replica.checks if "cookie" in check.headers] == []


def first_bytes(proxy: httpx.Client, request: bytes, body: bytes = b"") -> bytes:
    """Of the answer to a request that no client would send."""
    with socket.create_connection((proxy.base_url.host, proxy.base_url.port), PATIENCE_S) as peer:
        peer.sendall(request + b"\r\nHost: x\r\n\r\n" + body)
        return peer.recv(100)


def test_a_lost_server_is_passed_over_and_comes_back(proxy, replicas):
    home = {number: ask(proxy, number) for number in range(12)}
    replicas["a"].server.stop()
    assert {ask(proxy, number) for number in home} == {"b"}
    assert states(proxy) == ["down", "up"]
    replicas["a"].come_back()
    wait_until(lambda: states(proxy) == ["up", "up"], "the server that came back is not used")
    assert {number: ask(proxy, number) for number in home} == home
    replicas["a"].status = 503  # it loads another model
    assert {ask(proxy, number) for number in home} == {"b"}
    replicas["b"].server.stop()
    wait_until(lambda: states(proxy) == ["down", "down"], "nobody noticed that all are gone")
    refused = proxy.post("/v1/chat/completions", json=conversation(1))
    assert refused.status_code == 503
    assert refused.json()["error"]["message"].endswith("try again in a moment.")
    assert proxy.get("/health").status_code == 503


def test_a_server_lost_in_mid_answer_breaks_the_answer_off(proxy, replicas):
    with proxy.stream("POST", "/v1/chat/completions", json=conversation(3, stream=True, silent=True)) as answer:
        pieces = answer.iter_text()
        name = next(pieces).removeprefix("data: ").strip()
        replicas[name].server.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    assert ask(proxy, 3) == ({"a", "b"} - {name}).pop()


@pytest.mark.parametrize("silent", [False, True], ids=["while it answers", "while it is silent"])
def test_a_caller_who_leaves_ends_the_answer_there(proxy, replicas, silent):
    with proxy.stream("POST", "/v1/chat/completions", json=conversation(5, stream=True, silent=silent)) as answer:
        name = next(answer.iter_text()).split()[1]
    assert replicas[name].left.get(timeout=PATIENCE_S) == name


def test_a_server_that_takes_too_long_is_neither_lost_nor_asked_twice(replicas):
    urls = [replica.server.url for replica in replicas.values()]
    with (
        serve(replica_app(urls, ImageLimits(), silence_s=0.2)) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_S) as impatient,
    ):
        late = impatient.post("/v1/chat/completions", json=conversation(1, slow=True))
        assert late.status_code == 504
        assert late.json()["error"]["message"].startswith("The server did not answer in time;")
        assert states(impatient) == ["up", "up"]
        assert sum(len(replica.seen) for replica in replicas.values()) == 1


@pytest.mark.parametrize("text", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host/else", "http://host?a=b"])
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(SettingsError, match="must look like"):
        parse_address(text)
    assert parse_address(" http://host:1/v1/ ") == "http://host:1"


@pytest.mark.parametrize("address", ["http://alice:s3cret@host:1", "http://alice:s3cret@host:1/x", "http://s3cret@host:1/v1"])
def test_a_password_is_no_part_of_an_address_and_is_not_told(address):
    """Whoever asked without a key would be let in by it."""
    with pytest.raises(SettingsError, match="name and password out of http://host:1") as refusal:
        parse_address(address)
    assert "s3cret" not in str(refusal.value)


def test_the_command_serves_until_it_is_told_to_end(replicas):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    to = [part for replica in replicas.values() for part in ("--to", replica.server.url)]
    command = [sys.executable, "-m", "ixc", "replicas", *to, "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert f"2 servers are behind http://127.0.0.1:{port}" in process.stderr.readline()
            taken = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert httpx.get(f"http://127.0.0.1:{port}/v1/models").json()["data"][0]["id"] in replicas
        finally:
            process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert taken.returncode == 1
    assert "cannot be used (Address already in use); choose another" in taken.stderr


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_that_there_is_not_is_said_in_one_line(port):
    command = [sys.executable, "-m", "ixc", "replicas", "--to", "http://127.0.0.1:9", "--port", str(port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"ixc: The port (--port) must be between 0 and 65535, not {port}.\n"


def test_servers_are_given_once_each():
    with pytest.raises(SettingsError, match="once"):
        replica_app(["http://host:1", "http://host:1/v1"], ImageLimits())


# --- where a conversation belongs ---------------------------------------------------------------------------------

CONTENTS = st.one_of(st.text(), st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}), min_size=1))
ROLES = st.sampled_from(["user", "assistant", "system"])
MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": CONTENTS}))
ANY_TEXT = st.text("a图\ud83d", max_size=3)  # the last is half a character
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | ANY_TEXT, lambda part: st.lists(part) | st.dictionaries(ANY_TEXT, part)
)


@given(MESSAGES, CONTENTS, MESSAGES, MESSAGES)
def test_what_follows_the_first_question_does_not_move_a_conversation(before, question, after, later):
    before = [message for message in before if message["role"] != "user"]
    begun = [*before, {"role": "user", "content": question}]
    keys = {
        conversation_key(json.dumps({"messages": [*begun, *more], "seed": len(more)}).encode(), "caller")
        for more in (after, later)
    }
    assert len(keys) == 1
    other = [*before, {"role": "user", "content": [{"type": "image_url"}]}, *after]
    assert conversation_key(json.dumps({"messages": other}).encode(), "caller") not in keys
    assert conversation_key(json.dumps({"messages": begun}).encode(), "another") not in keys


@given(st.binary())
def test_a_body_without_a_conversation_belongs_to_its_caller(body):
    assert conversation_key(body, "caller") == conversation_key(b"", "caller")
    assert conversation_key(body, "caller") != conversation_key(body, "another")


@given(JSON, JSON)
def test_whatever_stands_for_a_conversation_has_a_place(messages, name):
    body = json.dumps({"messages": messages, "prompt_cache_key": name}).encode()
    assert sorted(rank(conversation_key(body, ""), ["http://a", "http://b"])) == ["http://a", "http://b"]


def test_a_named_conversation_belongs_to_its_name():
    named = [json.dumps({"prompt_cache_key": "k", "messages": [{"role": "user", "content": text}]}) for text in "ab"]
    assert conversation_key(named[0].encode(), "") == conversation_key(named[1].encode(), "")
    assert conversation_key(b'{"a":' * 100_000, "") == conversation_key(b"", "")


@given(st.binary(min_size=1), st.sets(st.text(min_size=1), min_size=2, max_size=6), st.data())
def test_a_lost_server_moves_only_its_own_conversations(key, servers, data):
    order = rank(key, sorted(servers))
    assert sorted(order) == sorted(servers)
    lost = data.draw(st.sampled_from(sorted(servers)))
    assert rank(key, sorted(servers - {lost})) == [server for server in order if server != lost]


def test_servers_get_equal_shares():
    first = Counter(rank(str(number).encode(), ["http://a", "http://b", "http://c"])[0] for number in range(3000))
    assert all(900 < count < 1100 for count in first.values())
