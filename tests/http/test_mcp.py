"""The MCP tools with the SDK's own client."""

from __future__ import annotations

import base64
import json
import socket
import time

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

import ixc
from tests.event_loops import run_apart
from tests.mcp_session import mcp_session


@pytest.fixture(scope="module")
def image_url(small_png) -> str:
    return "data:image/png;base64," + base64.b64encode(small_png).decode()


def call(app, name, **arguments):
    async def run():
        async with mcp_session(app.url) as client:
            return await client.call_tool(name, arguments)

    return run_apart(run())


def test_the_two_tools_are_listed_with_their_arguments(app):
    async def run():
        async with mcp_session(app.url) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in run_apart(run())}
    assert set(tools) == {"plan_image", "ask_image"}
    assert all("base64" in tool.description for tool in tools.values())


def test_the_server_says_who_it_is(app):
    async def run():
        async with streamable_http_client(f"{app.url}/mcp") as (read, write, _), ClientSession(read, write) as session:
            return await session.initialize()

    told = run_apart(run())
    assert (told.serverInfo.name, told.serverInfo.version) == ("ixc", ixc.__version__)
    assert "plan_image" in told.instructions


def test_a_plan(app, image_url):
    facts = json.loads(call(app, "plan_image", image_url=image_url, max_patches=4).content[0].text)
    assert facts["grid"] == {"rows": 2, "cols": 2}
    assert facts["num_visual_tokens"] == 144 * 5 + 12 * 3 + 1


def test_an_answer(app, image_url):
    result = call(app, "ask_image", image_url=image_url, question="What?", max_patches=1, max_tokens=3)
    answer = json.loads(result.content[0].text)
    assert 1 <= answer["usage"]["completion_tokens"] <= 3
    assert answer["usage"]["prompt_tokens_details"]["image_tokens"] == 144 * 2 + 12 * 2 + 1


def test_both_tools_take_the_model_s_own_budget_where_none_is_named(app, image_url):
    facts = json.loads(call(app, "plan_image", image_url=image_url).content[0].text)
    asked = call(app, "ask_image", image_url=image_url, question="What?", max_tokens=1)
    assert facts["max_patches"] == 4  # the test model's; other models' is 25
    assert facts["num_visual_tokens"] == json.loads(asked.content[0].text)["usage"]["prompt_tokens_details"]["image_tokens"]


def rpc(name: str, **arguments) -> dict:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


RPC_HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def test_a_caller_finds_its_own_keys_and_values_and_nobody_else_s(app, image_url):
    def num_cached(key: str) -> int:
        asked = rpc("ask_image", image_url=image_url, question="Whose?", max_patches=1, max_tokens=1)
        told = httpx.post(f"{app.url}/mcp", json=asked, headers={**RPC_HEADERS, "authorization": f"Bearer {key}"}, timeout=60)
        answer = json.loads(told.json()["result"]["content"][0]["text"])
        return answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert num_cached("anna") == 0
    assert num_cached("anna") > 300  # the image and more
    assert num_cached("ben") == 0


def test_a_caller_who_goes_away_is_not_answered_further(app, http, image_url):
    def counted(sign: str) -> float:
        lines = http.get("/metrics", headers={"accept": "text/plain"}).text.splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith("ixc_answers_total{") and sign in line), 0)

    before, url = counted("stopped"), httpx.URL(app.url)
    asked = rpc("ask_image", image_url=image_url, question="Go on and on", max_tokens=4096)
    request = httpx.Request("POST", f"{app.url}/mcp", json=asked, headers=RPC_HEADERS)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    deadline_s = time.monotonic() + 60
    with socket.create_connection((url.host, url.port), timeout=30) as peer:
        peer.sendall(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + request.content)
        while not http.get("/status").json()["in_line"]:
            assert time.monotonic() < deadline_s, "the question never came"
    while http.get("/status").json()["in_line"]:
        assert time.monotonic() < deadline_s, "it is answered for nobody"
    assert counted("stopped") == before + 1


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("plan_image", {"image_url": "file:///etc/passwd"}, "data: URL"),
        ("plan_image", {"image_url": "data:image/png;base64,AAAA", "max_patches": 65}, "1 to 64"),
        ("ask_image", {"image_url": "http://169.254.169.254/", "question": "What?"}, "does not fetch"),
        ("ask_image", {"image_url": "data:image/png;base64,AAAA", "question": "What?"}, "not an image"),
        ("ask_image", {"question": "What?"}, "'image_url' is a required property"),
        ("plan_image", {"image_url": "data:image/png;base64,AAAA", "max_patches": "four"}, "'four' is not of type 'integer'"),
        ("plan_image", {"image_url": "data:image/png;base64,AAAA", "max_pathces": 4}, "'max_pathces' was unexpected"),
        ("paint_image", {}, "there are plan_image and ask_image"),
    ],
)
def test_a_bad_call_is_an_error_in_a_sentence(app, tool, arguments, words):
    result = call(app, tool, **arguments)
    assert result.isError
    assert words in result.content[0].text
    assert "Traceback" not in result.content[0].text


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),  # as behind a server on port 80
        ("127.0.0.1:7860", True),
        ("[::1]", True),
        ("evil.example:80", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:7860", False),
    ],
)
def test_a_web_page_that_points_its_own_name_here_is_refused(app, host, is_local):
    answer = httpx.post(f"{app.url}/mcp", json={}, headers={"host": host, "accept": "application/json"})
    assert (answer.status_code != 421) == is_local


def test_there_is_no_stream_to_hold_open(app):
    assert httpx.get(f"{app.url}/mcp", headers={"accept": "text/event-stream"}, timeout=10).status_code == 405
