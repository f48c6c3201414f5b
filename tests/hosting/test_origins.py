"""Which web pages may use the server through somebody's browser. The headers are those that browsers send."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import nullcontext

import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ixc.benchmarks.app_process import AppProcess
from ixc.errors import SettingsError
from ixc.hosting.access import Access, GuardedRoutes
from ixc.hosting.origins import OnlyOwnPages, Origins

LAN = "192.168.1.5:7860"
HERE = "127.0.0.1:7860"


def may_come(origin: str | None, host: str, *, setting: str = "", only_local: bool = False, env=None, **more: str) -> bool:
    origins = Origins.of(setting, env or {}, only_local=only_local)
    named = {} if origin is None else {"origin": origin}
    return origins.may_come(Headers({"host": host, **named, **{name.replace("_", "-"): value for name, value in more.items()}}))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (f"http://{LAN}", LAN),
        (f"http://{HERE}", HERE),
        ("http://[::1]:7860", "[::1]:7860"),
        ("https://ixc.example.org", "ixc.example.org"),
        ("https://ixc.example.org", "ixc.example.org:443"),
        ("http://ixc.example.org:80", "ixc.example.org"),
        ("https://ixc.example.org:8443", "ixc.example.org"),  # nginx's $host has no port
        ("http://localhost:3000", HERE),  # another program's page on this machine
        ("http://127.0.0.1:6274", "localhost:7860"),
        ("http://localhost:3000", LAN),
        ("http://tauri.localhost", LAN),
        ("tauri://localhost", HERE),
        ("chrome-extension://abcdefgh", LAN),
        (None, LAN),
        (None, "anything"),
    ],
)
def test_its_own_pages_and_programs_may_come(origin, host):
    assert may_come(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", LAN),
        ("http://evil.example", HERE),
        ("http://192.168.1.5:8080", LAN),
        ("http://localhost.evil.example", HERE),
        ("http://127.0.0.1.evil.example:7860", HERE),
        ("https://ixc.example.org:8443", "ixc.example.org:443"),
        ("null", LAN),
        ("null", HERE),
        ("http://", ""),
        ("http://[", LAN),
        ("", LAN),
        (f"http://{LAN}", "[::1"),
    ],
)
def test_pages_elsewhere_may_not(origin, host):
    assert not may_come(origin, host)
    assert may_come(origin, host, setting="*")


def test_the_browser_s_own_word_counts_where_a_server_in_front_asks_for_another_host():
    asked = {"host": "app:7860", "origin": "https://ixc.example.org"}
    assert may_come(asked["origin"], asked["host"], sec_fetch_site="same-origin")
    assert not may_come(asked["origin"], asked["host"])
    for site in ("cross-site", "same-site", "anything"):
        assert not may_come("https://other.example.org", "ixc.example.org", sec_fetch_site=site)


def test_a_server_in_front_on_this_machine_says_what_was_asked_for():
    """Elsewhere the header could be a page's own: its browser asks first whether it may send it, and Gradio says yes."""
    assert may_come("http://ixc.lan", HERE, x_forwarded_host="ixc.lan, inner")
    assert not may_come("http://evil.example", HERE, x_forwarded_host="ixc.lan")
    assert not may_come("http://evil.example", LAN, x_forwarded_host="evil.example")
    assert not may_come("http://evil.example", "[::1]:7860", x_forwarded_host="evil.example")


@pytest.mark.parametrize(
    ("origin", "is_refused"),
    [
        ("http://evil.example:7860", True),
        ("http://evil.example.:7860", True),
        ("https://ixc.example.org", False),  # a name with a certificate does not point here by a trick
        ("http://ixc.lan", False),
        ("http://ixc", False),
        ("http://192.168.1.5:8080", False),
        ("http://localhost:7860", False),
    ],
)
def test_a_page_elsewhere_may_not_pass_for_a_local_one_by_letting_its_name_point_here(origin, is_refused):
    host = origin.partition("//")[2]
    assert may_come(origin, host, only_local=True) is not is_refused
    assert may_come(origin, host)
    assert may_come(origin, host, only_local=True, setting=origin)


def test_the_host_names_other_pages():
    setting = " https://chat.example.org , http://tools.lan:8080/ "
    for origin in ("https://chat.example.org", "https://chat.example.org:443", "http://tools.lan:8080"):
        assert may_come(origin, LAN, setting=setting, sec_fetch_site="cross-site")
    assert not may_come("http://chat.example.org", LAN, setting=setting)
    for wrong in ("chat.example.org", "null", "https://", "ftp://host", "http://host:port"):
        with pytest.raises(SettingsError, match="IXC_ORIGINS must hold addresses"):
            Origins.of(wrong, {}, only_local=False)


def test_what_the_surroundings_tell_of_the_address_is_known():
    space = {"SPACE_HOST": "user-name.hf.space"}
    for origin in ("https://user-name.hf.space", "https://huggingface.co"):
        assert may_come(origin, "inner:7860", env=space)
        assert not may_come(origin, "inner:7860")
    there = Headers({"host": "inner:7860", "origin": "https://blog.example", "sec-fetch-site": "cross-site"})
    for setting, asks_nobody, is_let_in in (("", True, True), ("", False, False), ("https://other.example", True, False)):
        origins = Origins.of(setting, space, only_local=False, asks_nobody=asks_nobody)  # a Space in somebody's own page
        assert origins.may_come(there) is is_let_in
    assert not Origins.of("", {}, only_local=False, asks_nobody=True).may_come(there)
    assert may_come("http://ixc.example.org", HERE, env={"GRADIO_ROOT_PATH": "http://ixc.example.org/some/path"})
    assert not may_come("http://ixc.example.org", HERE, env={"GRADIO_ROOT_PATH": "/some/path"})
    origins = Origins()
    assert origins.allow("https://abc.gradio.live")
    assert origins.may_come(Headers({"host": HERE, "origin": "https://abc.gradio.live"}))


def test_a_key_was_given_to_whoever_sends_it_but_a_browser_adds_passwords_by_itself():
    route = Route("/v1/models", lambda _: PlainTextResponse("yes"))
    access = Access({"alice": "correct horse"}, ("sixteen-signs-or-more",))
    app = Starlette(
        routes=[route, Route("/page", lambda _: PlainTextResponse("yes"))],
        middleware=[Middleware(GuardedRoutes, access=access, routes=[route]), Middleware(OnlyOwnPages, origins=Origins())],
    )
    basic = "Basic " + base64.b64encode(b"alice:correct horse").decode()
    with TestClient(app) as client:

        def status(path: str, authorization: str) -> int:
            headers = {"origin": "https://chat.example.org", "authorization": authorization}
            return client.get(path, headers=headers).status_code

        assert status("/v1/models", "Bearer sixteen-signs-or-more") == 200
        assert status("/v1/models", "Bearer another") == 401
        assert status("/v1/models", basic) == 403
        assert status("/page", "Bearer sixteen-signs-or-more") == 403  # which the page asks nobody for


@pytest.fixture(scope="module")
def on_the_network() -> Iterator[AppProcess]:
    """Reached by any name, as a server that others use; without a model: it failed to load."""
    with AppProcess({"IXC_HOST": "0.0.0.0", "IXC_MODEL": "no-such-model", "IXC_ORIGINS": "http://chat.lan"}) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/mcp"),
        ("POST", "/gradio_api/queue/join"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/upload"),
        ("GET", "/config"),
    ],
)
def test_no_website_uses_the_server_through_its_neighbours_browsers(on_the_network, method, path):
    url = httpx.URL(on_the_network.url).copy_with(path=path)

    def ask(origin: str) -> httpx.Response:
        return httpx.request(
            method, url, headers={"host": "ixc.lan:7860", "origin": origin}, json={} if method == "POST" else None
        )

    refused = ask("http://evil.example")
    assert refused.status_code == 403
    assert "IXC_ORIGINS" in refused.json()["detail"]
    assert ask("http://ixc.lan:7860").status_code != 403
    allowed = ask("http://chat.lan")
    assert allowed.status_code != 403
    assert allowed.headers["access-control-allow-origin"] == "http://chat.lan"


def test_a_server_in_front_that_sends_the_whole_picture_first_reads_the_refusal(on_the_network):
    """As nginx does; where the server hangs up on it, its visitors see 502."""
    url, num_bytes = httpx.URL(on_the_network.url), 20_000_000
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: ixc.lan\r\nOrigin: http://evil.example\r\nContent-Length: {num_bytes}"
    with socket.create_connection((url.host, url.port), timeout=20) as peer:
        peer.sendall(f"{head}\r\n\r\n".encode())
        peer.sendall(b" " * num_bytes)
        assert peer.recv(12) == b"HTTP/1.1 403"


def test_a_page_elsewhere_is_not_told_that_it_may_name_the_host_itself(on_the_network):
    """What believing X-Forwarded-Host on loopback rests on: its browser asks, and is not told yes."""
    asks = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "x-forwarded-host"
    answer = httpx.options(f"{on_the_network.url}/v1/chat/completions", headers=asks)
    assert "access-control-allow-origin" not in answer.headers


CHAT = "https://chat.example.org"
KEY = "sixteen-signs-or-more"


@pytest.fixture(scope="module")
def on_this_machine() -> Iterator[AppProcess]:
    """Where Gradio tells pages elsewhere that they may not, whatever IXC_ORIGINS says."""
    with AppProcess({"IXC_MODEL": "no-such-model", "IXC_ORIGINS": CHAT, "IXC_API_KEY": KEY}) as running:
        yield running


def asks_before(origin: str, *headers: str) -> dict[str, str]:
    """What a browser sends before a page's POST with ``headers`` that not every page may send. No key is among it."""
    asked = {"access-control-request-headers": ",".join(headers)} if headers else {}
    return {"origin": origin, "access-control-request-method": "POST", **asked}


def told(answer: httpx.Response) -> tuple[list[str], list[str]]:
    """All values of the two headers by which a browser lets a page read an answer, and caches keep it for that page."""
    vary = [part.strip().lower() for part in answer.headers.get("vary", "").split(",")]
    return answer.headers.get_list("access-control-allow-origin"), [part for part in vary if part == "origin"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/gradio_api/call/chat", "/config", "/mcp"])
def test_a_browser_that_asks_for_a_named_page_is_told_yes_on_loopback_too(on_this_machine, path):
    wanted = ("authorization", "content-type", "x-stainless-lang")  # as OpenAI's client in a browser
    answer = httpx.options(on_this_machine.url + path, headers=asks_before(CHAT, *wanted))
    assert answer.is_success
    assert told(answer) == ([CHAT], ["origin"])
    assert {name.strip() for name in answer.headers["access-control-allow-headers"].lower().split(",")} >= set(wanted)
    assert "POST" in answer.headers["access-control-allow-methods"]
    refused = httpx.options(on_this_machine.url + path, headers=asks_before("https://evil.example", *wanted))
    assert told(refused)[0] == []


@pytest.mark.parametrize(("path", "key", "status"), [("/v1/models", KEY, 200), ("/v1/models", "", 401), ("/health", "", 503)])
def test_a_named_page_may_read_what_it_is_answered(on_this_machine, path, key, status):
    authorization = {"authorization": f"Bearer {key}"} if key else {}
    answer = httpx.get(on_this_machine.url + path, headers={"origin": CHAT, **authorization})
    assert answer.status_code == status
    assert told(answer) == ([CHAT], ["origin"])
    assert told(httpx.get(on_this_machine.url + path, headers=authorization)) == ([], [])


@pytest.mark.parametrize("origin", ["http://chat.lan", "http://ixc.lan:7860"])
def test_what_gradio_tells_too_is_told_once(on_the_network, origin):
    host = {"host": "ixc.lan:7860"}
    for answer in (
        httpx.get(f"{on_the_network.url}/v1/models", headers={"origin": origin, **host}),
        httpx.get(f"{on_the_network.url}/config", headers={"origin": origin, **host}),
        httpx.options(f"{on_the_network.url}/config", headers={**asks_before(origin, "content-type"), **host}),
    ):
        assert told(answer) == ([origin], ["origin"])
        assert answer.headers.get_list("access-control-allow-credentials") == ["true"]


@pytest.mark.parametrize("starts", [True, False], ids=["a server that starts it", "one that only passes requests on"])
def test_where_every_page_may_come_each_is_told_by_its_own_name(starts):
    routes = [Route("/page", lambda _: PlainTextResponse("yes", headers={"Vary": "Cookie"}))]
    origins = Origins.of("*", {}, only_local=False)
    app = Starlette(routes=routes, middleware=[Middleware(OnlyOwnPages, origins=origins)])
    client = TestClient(app)
    with client if starts else nullcontext():
        for origin in (CHAT, "http://blog.example"):
            answer = client.get("/page", headers={"origin": origin})
            assert told(answer) == ([origin], ["origin"])
            assert answer.headers["vary"].startswith("Cookie")
            before = client.options("/page", headers=asks_before(origin))
            assert told(before) == ([origin], ["origin"])
            assert {"Authorization", "Content-Type"} <= set(before.headers["access-control-allow-headers"].split(", "))
        assert client.options("/page", headers={"origin": CHAT}).status_code == 405  # the page's own request
