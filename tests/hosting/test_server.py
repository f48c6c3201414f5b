"""The real server in processes of its own: who gets in, what those who run it see, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import main as run_the_space
from ixc.application.model_choice import offered_models
from ixc.application.traffic import STOPPING_NOTICE, STOPPING_REFUSAL
from ixc.benchmarks.app_process import AppProcess
from ixc.benchmarks.page_client import PageClient
from ixc.hosting.access import Access
from ixc.hosting.options import ServerOptions
from ixc.hosting.server import settings_for_visitors
from ixc.hosting.space.spacefile import read_spacefile
from ixc.models.presets import PRESETS
from ixc.settings import MEGABYTE, Settings
from tests.checkpoints import write_chat_checkpoint

LOGIN = ("alice", "correct horse")
KEY = "sixteen-signs-or-more"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return str(write_chat_checkpoint(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def guarded() -> Iterator[AppProcess]:
    """With passwords, and without a model: it failed to load."""
    with AppProcess({"IXC_AUTH": ":".join(LOGIN), "IXC_API_KEY": KEY, "IXC_MODEL": "no-such-model"}) as running:
        assert running.wait_for_model() == "failed"
        yield running


def status_of_announced(app: AppProcess, path: str, num_bytes: int, *headers: str) -> int:
    """What a body is answered with before any of it was sent."""
    url = httpx.URL(app.url)
    with socket.create_connection((url.host, url.port), timeout=30) as peer:
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {num_bytes}", *headers]
        peer.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(peer.recv(100).split()[1])


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/gradio_api/info",
        "/gradio_api/queue/data?session_hash=a",
        "/metrics",
        "/v1/models",
        "/mcp",
        "/status",
        "/gradio_api/openapi.json",
    ],
)
def test_nothing_is_told_to_strangers(guarded, path):
    answer = httpx.get(guarded.url + path)
    assert answer.status_code == 401 or ("file=" in path and answer.status_code == 404)


@pytest.mark.parametrize(("path", "body"), [("/run/predict", {"data": []}), ("/queue/join", {"data": [], "session_hash": "a"})])
def test_nothing_is_done_for_strangers(guarded, path, body):
    assert httpx.post(f"{guarded.url}/gradio_api{path}", json=body).status_code == 401
    assert httpx.post(f"{guarded.url}/gradio_api/upload", files={"files": ("a.png", b"x")}).status_code == 401


@pytest.mark.parametrize("path", ["/v1/models", "/mcp"])
def test_programs_come_in_with_a_key_or_a_password(guarded, path):
    for key, is_known in ((KEY, True), (":".join(LOGIN), True), (KEY[:-1], False), (LOGIN[1], False)):
        answer = httpx.get(guarded.url + path, headers={"authorization": f"Bearer {key}"})
        assert (answer.status_code != 401) == is_known
    assert httpx.get(guarded.url + path).json()["error"]["code"] == "invalid_api_key"
    assert httpx.get(guarded.url + "/config", headers={"authorization": f"Bearer {KEY}"}).status_code == 401


def test_keys_are_checked_before_bodies_which_have_more_room_with_one(guarded):
    announced = (guarded, "/v1/chat/completions", 500 * MEGABYTE)
    assert status_of_announced(*announced) == 401
    assert status_of_announced(*announced, f"Authorization: Bearer {KEY}") == 413


def test_mcp_clients_with_a_key_come_in_by_the_public_name(guarded):
    """As a server with TLS in front passes it on to loopback; no web page of another name has a key."""
    headers = {"host": "ixc.example.org", "accept": "application/json, text/event-stream"}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    told = httpx.post(f"{guarded.url}/mcp", json=asked, headers={**headers, "authorization": f"Bearer {KEY}"})
    assert {tool["name"] for tool in told.json()["result"]["tools"]} == {"plan_image", "ask_image"}
    assert httpx.post(f"{guarded.url}/mcp", json=asked, headers=headers).status_code == 401


def test_who_has_a_password_gets_in(guarded):
    with httpx.Client(base_url=guarded.url) as browser:
        refused = browser.post("/login", data={"username": LOGIN[0], "password": "correct hors"})
        assert refused.status_code == 400
        assert browser.post("/login", data={"username": LOGIN[0], "password": LOGIN[1]}).status_code == 200
        assert browser.get("/config").json()["title"].startswith("4KHD")
    assert httpx.get(f"{guarded.url}/status", auth=LOGIN).json()["model"] == "failed"
    bearer = {"Authorization": f"Bearer {':'.join(LOGIN)}"}
    assert httpx.get(f"{guarded.url}/metrics", headers=bearer).status_code == 200
    assert httpx.get(f"{guarded.url}/metrics", auth=(LOGIN[0], "wrong wrong")).status_code == 401


def test_who_gets_in_on_loopback_is_not_its_owner_and_is_offered_one_model(guarded):
    """As behind a server with TLS; whoever could choose would make the server download 17 GB."""
    with httpx.Client(base_url=guarded.url) as browser:
        browser.post("/login", data={"username": LOGIN[0], "password": LOGIN[1]})
        config = browser.get("/config").json()
    lists = [each["props"].get("choices") for each in config["components"]]
    assert [["no-such-model", "no-such-model"]] in lists
    assert "4khd-7b" not in json.dumps([choices for choices in lists if choices])


@pytest.mark.parametrize(
    ("options", "named", "offered"),
    [
        (ServerOptions(), "", ["ixc-nano", *(name for name in PRESETS if name != "ixc-nano")]),
        (ServerOptions(Access(keys=(KEY,))), "", ["ixc-nano"]),
        (ServerOptions(Access(dict([LOGIN]))), "", ["ixc-nano"]),
        (ServerOptions(Access(dict([LOGIN])), share=True), "", ["ixc-nano"]),
        (ServerOptions(Access(dict([LOGIN])), share=True), "vl-7b", ["ixc-nano", "vl-7b"]),
    ],
)
def test_all_models_are_offered_only_where_nobody_else_is_let_in(options, named, offered):
    settings = settings_for_visitors(Settings(models=named), options)
    assert [model.key for model in offered_models(settings)] == offered


def test_a_space_offers_its_model_only(monkeypatch):
    """There the address comes in Gradio's own variable."""
    served = []
    monkeypatch.setattr("ixc.hosting.server.serve", lambda *given: served.append(given))
    for name, value in {**read_spacefile().variables_for("l4x1"), "GRADIO_SERVER_NAME": "0.0.0.0"}.items():
        monkeypatch.setenv(name, value)
    assert run_the_space() == 0
    ((settings, options),) = served
    assert [model.key for model in offered_models(settings_for_visitors(settings, options))] == ["4khd-7b"]


def test_only_those_who_logged_in_count_as_open_pages(guarded):
    """Else fifty strangers would keep everybody out of an app for fifty."""

    def num_open() -> float:
        told = httpx.get(f"{guarded.url}/metrics", auth=LOGIN, headers={"Accept": "text/plain"}).text
        return next(float(line.split()[1]) for line in told.splitlines() if line.startswith("ixc_open_pages "))

    with httpx.Client(base_url=guarded.url, timeout=30) as browser:
        for is_known in (False, True):
            if is_known:
                browser.post("/login", data={"username": LOGIN[0], "password": LOGIN[1]}).raise_for_status()
            with browser.stream("GET", "/gradio_api/heartbeat/somebody") as heartbeat:
                lines = heartbeat.iter_lines()  # kept: httpx ends a stream whose iterator is dropped
                next(lines)
                assert num_open() == is_known


def test_health_is_told_to_anybody_and_says_no_without_a_model(guarded):
    health = httpx.get(f"{guarded.url}/health")
    assert (health.status_code, health.json()) == (503, {"status": "failed"})
    assert httpx.get(f"{guarded.url}/health/live").status_code == 200


@pytest.fixture(scope="module")
def below_a_path() -> Iterator[AppProcess]:
    with AppProcess({"GRADIO_ROOT_PATH": "/some/path", "IXC_MAX_USERS": "1", "IXC_MODEL": "no-such-model"}) as running:
        yield running


@pytest.mark.parametrize("prefix", ["/some/path", ""], ids=["the server in front keeps the path", "it takes it away"])
def test_below_a_path_everything_is_guarded_as_without(below_a_path, prefix):
    url = below_a_path.url + prefix
    for path in ("file=/etc/passwd", "proxy=http://127.0.0.1:1/x", "process_recording"):
        answer = httpx.get(f"{url}/gradio_api/{path}")
        assert (answer.status_code, answer.text) == (404, "Not found."), path
    assert status_of_announced(below_a_path, f"{prefix}/gradio_api/queue/join", 9 * MEGABYTE) == 413
    assert httpx.post(f"{url}/gradio_api/upload", files={"files": ("a.png", bytes(9 * MEGABYTE))}).status_code == 200
    assert httpx.post(f"{url}/v1/chat/completions", content=bytes(9 * MEGABYTE)).status_code == 415
    page = PageClient(url)
    try:
        assert metrics(below_a_path)["ixc_open_pages"] == 1
        assert [httpx.get(url + path).status_code for path in ("/", "/config")] == [503, 503]
    finally:
        page.close()
    deadline_s = time.monotonic() + 8
    while metrics(below_a_path)["ixc_open_pages"]:
        assert time.monotonic() < deadline_s


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=abc", "text/plain; version=abc", "a=b;;"])
def test_metrics_come_in_their_plain_form_where_another_cannot_be_understood(below_a_path, accept):
    response = httpx.get(f"{below_a_path.url}/metrics", headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert "ixc_open_pages" in {family.name for family in text_string_to_metric_families(response.text)}


def metrics(app: AppProcess) -> dict[str, float]:
    """Samples by name and labels, read by Prometheus' own parser."""
    families = text_string_to_metric_families(httpx.get(f"{app.url}/metrics", headers={"Accept": "text/plain"}).text)
    return {
        sample.name + "".join(f",{v}" for v in sample.labels.values()): sample.value for f in families for sample in f.samples
    }


def test_a_server_from_its_first_page_to_its_last_word(checkpoint):
    """One process, in the order of its life."""
    env = {"IXC_MODEL": checkpoint, "IXC_MAX_USERS": "4", "IXC_LOG_FORMAT": "json", "IXC_GRACE_S": "4"}
    with AppProcess(env) as app:
        assert app.wait_for_model() == "ready"
        assert httpx.get(f"{app.url}/health").status_code == 200
        first, second = PageClient(app.url), PageClient(app.url)

        assert metrics(app)["ixc_open_pages"] == 2
        for path, says in (("/", "2 of one network at a time"), ("/config", "2 users of one network at a time")):
            full = httpx.get(app.url + path)
            assert full.status_code == 503
            assert full.headers["Retry-After"]
            assert says in full.text
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as elsewhere:
            assert elsewhere.get(f"{app.url}/config").status_code == 200
        second.close()  # noticed before the next beat, which comes 15 s after the first
        deadline_s = time.monotonic() + 12
        while metrics(app)["ixc_open_pages"] > 1:
            assert time.monotonic() < deadline_s
        second = PageClient(app.url)

        first.set_value("ixc-length", 8)
        *_, transcript = first.ask("What is this?")
        told = transcript["exchanges"][-1]["stats"]
        counted = metrics(app)
        assert counted["ixc_answers_total,length"] == 1
        assert counted["ixc_generated_tokens_total"] == told["newTokens"] == 8
        assert counted["ixc_prompt_tokens_total,computed"] == told["promptTokens"]
        assert counted["ixc_time_to_first_token_seconds_count"] == 1
        assert counted["ixc_page_refusals_total"] == 2
        assert counted["ixc_model_ready"] == 1

        with socket.create_connection(("127.0.0.1", httpx.URL(app.url).port), timeout=30) as peer:
            peer.sendall(b"at length, no request \x00\r\n\r\n")
            assert peer.recv(100).startswith(b"HTTP/1.1 400")
        httpx.post(f"{app.url}/gradio_api/upload", files={"files": ("a.png", b"never opened")}).raise_for_status()
        assert list(app.uploads_path.rglob("a.png"))
        first.set_value("ixc-length", 4096)
        states = first.ask("And now at length?")
        assert any(state["live"] and state["live"]["text"] for state in states)
        os.kill(app.pid, signal.SIGTERM)
        assert any(app.health() == "stopping" for _ in range(1000))
        *_, refused = second.ask("May I?")
        assert refused["exchanges"][-1]["error"]["detail"] == STOPPING_REFUSAL
        *_, ended = states
        last = ended["exchanges"][-1]
        assert last["answer"], "the partial answer is kept"
        assert last["error"]["detail"] == STOPPING_NOTICE
        assert app.wait_for_exit() == 0
        assert not list(app.uploads_path.rglob("*.png")), "no upload stays"
        log = app.log()
        first.close()
        second.close()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["outcome"] for line in lines if line["message"] == "answered"] == ["length", "AppStopping"]
    assert [line["logger"] for line in lines if line["message"] == "Invalid HTTP request received."] == ["uvicorn.error"]
    assert {"stopping", "ending answers", "stopped"} <= {line["message"] for line in lines}
    assert "at length" not in log, "what users write is in no log"
