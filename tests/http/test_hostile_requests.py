"""Requests that no page would send. The Python client is too well-behaved for these, so they are raw."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from ixc.benchmarks.page_client import PageClient


@pytest.fixture
def tab(app):
    client = PageClient(app.url)
    yield client
    client.close()


def raw_request(app, request_line: str, *headers: str) -> bytes:
    url = httpx.URL(app.url)
    with socket.create_connection((url.host, url.port), timeout=30) as peer:
        lines = [request_line, f"Host: {url.host}:{url.port}", "Connection: close", *headers]
        peer.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while part := peer.recv(65536):
            answer += part
    return answer


def plan_data(tab: PageClient) -> object:
    return tab.value("ixc-plan")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/environ", "../../../../etc/passwd", "/etc/hostname", "http://127.0.0.1:1/x.png"]
)
@pytest.mark.parametrize("marked", [True, False])
def test_the_page_opens_no_file_of_the_server_and_no_address(tab, path, marked):
    value = {"path": path, "orig_name": "x.png"}
    if marked:
        value["meta"] = {"_type": "gradio.FileData"}
    tab.set_value("ixc-upload", value)
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        tab.call("ixc-upload", "upload")
    assert refusal.value.response.status_code in (403, 422, 500)
    assert "root:" not in refusal.value.response.text
    assert "Traceback" not in refusal.value.response.text


def test_a_call_with_too_few_values_is_told_so_and_stands_in_no_log(app, http):
    body = {"data": ["What is in my medical report?"]}
    event = http.post("/gradio_api/call/chat", json=body).raise_for_status().json()["event_id"]
    assert "The call needs 11 values and got 1" in http.get(f"/gradio_api/call/chat/{event}").text
    http.post("/gradio_api/call/v2/my medical report", json={})
    assert "medical" not in app.log()
    assert "Received inputs" not in app.log()


def test_a_page_s_conversation_gets_through_and_no_more(http):
    def status(num_bytes: int) -> int:
        return http.post("/gradio_api/call/chat", json={"data": ["", "x" * num_bytes]}).status_code

    assert status(1_000_000) == 200
    assert status(1_100_000) == 413


@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:1/x.png"])
def test_the_api_opens_no_file_of_the_server_and_no_address(http, path):
    body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, 9]}
    event = http.post("/gradio_api/call/plan", json=body).raise_for_status().json()["event_id"]
    answer = http.get(f"/gradio_api/call/plan/{event}").text
    assert "event: error" in answer
    assert "grid" not in answer
    assert "root:" not in answer


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "app.py", "pyproject.toml", "assets/examples/examples.json", "/proc/self/environ"]
)
def test_no_file_is_served_by_its_path(http, path):
    assert http.get(f"/gradio_api/file={path}").status_code in (403, 404)


@pytest.mark.parametrize("budget", [0, 65, -5, 2.5, 1e300, "25", None, True, [25], {"value": 25}])
def test_the_slider_takes_only_whole_numbers_in_range(tab, small_png, budget):
    tab.upload("small.png", small_png)
    before = plan_data(tab)
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        tab.move_slider(budget)
    assert "Max patches must be a whole number from 1 to 64." in refusal.value.response.text
    assert plan_data(tab) == before


def test_a_number_that_json_does_not_know_is_refused(app, tab, small_png):
    tab.upload("small.png", small_png)
    dependency = next(d for d in tab.config["dependencies"] if [d["inputs"][0], "input"] in d["targets"])
    body = json.dumps({"fn_index": dependency["id"], "data": ["NAN"], "session_hash": tab.session}).replace('"NAN"', "NaN")
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{app.url}/gradio_api/run/predict", content=body, headers=headers, timeout=30)
    assert response.status_code >= 400
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    "event_data",
    [None, {}, {"index": 99}, {"index": -1}, {"index": "0"}, {"index": True}, {"index": 1e9}, [], "x", {"index": None}],
)
def test_examples_and_edits_take_any_event_data(tab, event_data):
    call = tab.call("ixc-examples", "pick", event_data)
    stage = call.data[0]
    assert stage["image"] is not None or stage["error"]["detail"].startswith("There is no such example")
    for shown in tab.stream("ixc-transcript", "edit", "ixc-transcript", event_data):
        assert shown is None or (shown["exchanges"], shown["live"], shown["error"]) == ([], None, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "process_recording"),  # would keep the file and hand it to ffmpeg
        ("GET", "proxy=http://127.0.0.1:1/x"),
        ("GET", "file=http://127.0.0.1:1/x"),
        ("GET", "file/etc/passwd"),
        ("POST", "component_server/1/x"),
        ("GET", "stream/a/b/1/playlist-file"),
        ("GET", "deep_link?session_hash=a"),
        ("POST", "vibe-edit"),
        ("GET", "%66ile=/etc/passwd"),
        ("GET", "queue/../file=/etc/passwd"),
        ("GET", "./file=/etc/passwd"),
        ("GET", "/file=/etc/passwd"),
    ],
)
def test_what_the_page_has_no_use_for_does_not_exist(app, method, path):
    """Raw, because a client would resolve the dots itself."""
    answer = raw_request(app, f"{method} /gradio_api/{path} HTTP/1.1")
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 405"))
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "name",
    [
        "../../../../escaped.png",
        "/tmp/escaped.png",
        "..\\..\\escaped.png",
        "a\x00b.png",
        "<script>alert(1)</script>.html",
        "x" * 5000,
    ],
)
def test_a_file_name_leads_nowhere(app, http, name):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="'
        + name.encode()
        + b'"\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n--b--\r\n'
    )
    answer = http.post("/gradio_api/upload", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code in (200, 400, 413)
    for path in answer.json() if answer.status_code == 200 else []:
        assert Path(path).resolve().is_relative_to(app.uploads_path.resolve())
        assert http.get(f"/gradio_api/file={path}").status_code == 404  # nothing that was uploaded is ever a page
        Path(path).unlink()
    assert not list(app.uploads_path.parent.rglob("escaped.png"))


@pytest.mark.parametrize(
    "session", ["../../x", "x" * 100_000, "", None, 5, ["a"], {"a": 1}, "v1-" + "0" * 64, "api-" + "0" * 32]
)
def test_a_forged_session_reaches_nothing(app, http, tab, small_png, session):
    """It is a stranger's at best; at worst it is refused. The tab beside it keeps what it has."""
    address = tab.upload("small.png", small_png).data[0]["image"]["src"]
    stranger = next(d for d in tab.config["dependencies"] if d["targets"] and d["targets"][0][1] == "input")
    body = {"fn_index": stranger["id"], "data": [4], "session_hash": session}
    for path in ("run/predict", "queue/join", "cancel", "reset"):
        answer = http.post(f"/gradio_api/{path}", json={**body, "event_id": "none"})
        assert "overlay" not in answer.text
        assert "Traceback" not in answer.text
    assert http.get(f"/{address}").status_code == 200
    assert app.status()["sessions"]["sessions"] >= 1


def test_questions_of_nobody_do_not_end_the_queue(app, http):
    """A session named "" has no mailbox. Many at once, so that one still waits while another is served."""
    config = http.get("/config").json()
    plan = next(d["id"] for d in config["dependencies"] if d["api_name"] == "plan")
    body = {"fn_index": plan, "data": [None, 4], "session_hash": ""}
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: http.post("/gradio_api/queue/join", json=body).status_code, range(40)))
    assert set(statuses) <= {200, 400, 422}
    event = http.post("/gradio_api/call/plan", json={"data": [None, 4]}).raise_for_status().json()["event_id"]
    assert "An image is needed" in http.get(f"/gradio_api/call/plan/{event}").text


def test_a_page_elsewhere_can_start_nothing(http):
    """A browser sends such a request from any site without asking: it must not be read as JSON."""
    foreign = {"content-type": "text/plain", "origin": "http://evil.example"}
    chat = json.dumps({"data": ["Hi"]})
    for path in ("/gradio_api/call/chat", "/gradio_api/queue/join", "/v1/chat/completions", "/mcp"):
        answer = http.post(path, content=chat, headers=foreign)
        assert answer.status_code in (400, 403, 406, 415, 422), (path, answer.status_code)
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/gradio_api/queue/join", "/gradio_api/call/chat", "/gradio_api/run/predict", "/gradio_api/cancel"]
)
def test_a_long_text_is_refused_before_it_is_sent(app, path):
    answer = raw_request(app, f"POST {path} HTTP/1.1", "Content-Type: application/json", f"Content-Length: {9 * 1024**2}")
    assert answer.startswith(b"HTTP/1.1 413")


def test_many_slow_senders_hold_nobody_up(app, http):
    host, port = httpx.URL(app.url).host, httpx.URL(app.url).port
    slow = [socket.create_connection((host, port), timeout=30) for _ in range(200)]
    try:
        for number, peer in enumerate(slow):
            with suppress(ConnectionError):  # of so many the app hangs up on those that wait longest
                peer.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\n")
                if number % 2:  # half of them never end their headers, half never send the body
                    peer.sendall(b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n--b")
        assert http.get("/status", timeout=20).status_code == 200
        assert http.get("/v1/models", timeout=20).json()["data"]
    finally:
        for peer in slow:
            peer.close()


def test_a_large_upload_is_refused_with_413(http):
    response = http.post("/gradio_api/upload", files={"files": ("big.png", b"\x00" * (6 * 1024 * 1024))})
    assert response.status_code == 413


def test_pictures_need_their_secret_name(http, tab, small_png):
    assert http.get("/pictures/guess").status_code == 404
    assert http.get("/pictures/../status").status_code in (200, 404)  # the client itself resolves the dots
    assert http.get("/pictures/%2e%2e%2fapp.py").status_code == 404
    address = tab.upload("small.png", small_png).data[0]["image"]["src"]
    response = http.get(f"/{address}")
    assert response.headers["content-type"] == "image/webp"
    assert "private" in response.headers["cache-control"]
    assert len(address.rsplit("/", 1)[1]) >= 32
    tab.close()
    deadline_s = time.monotonic() + 30
    while http.get(f"/{address}").status_code != 404:
        assert time.monotonic() < deadline_s, "the picture outlived its tab"


def test_the_upload_is_gone_once_it_is_decoded(app, tab, small_png):
    tab.upload("private.png", small_png)
    assert not list(app.uploads_path.rglob("private.png"))


def test_the_same_file_from_two_users_is_two_files(app, http, small_png):
    """Each is deleted once it is opened."""
    anna, ben = PageClient(app.url), PageClient(app.url)
    try:
        files = {"files": ("same.png", small_png)}
        paths = [http.post("/gradio_api/upload", files=files).json()[0] for _ in range(2)]
        for tab, path in zip((anna, ben), paths, strict=True):
            tab.set_value("ixc-upload", {"path": path, "orig_name": "same.png", "meta": {"_type": "gradio.FileData"}})
            assert tab.call("ixc-upload", "upload").data[0]["error"] is None
    finally:
        anna.close()
        ben.close()


def test_the_browser_may_load_nothing_from_elsewhere(http):
    policy = http.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http:" not in policy
    assert "https:" not in policy
    assert http.get("/").headers["x-content-type-options"] == "nosniff"


def test_the_page_names_no_other_host(http):
    text = http.get("/").text
    for foreign in ("fonts.googleapis.com", "cdnjs", "unpkg", "jsdelivr"):
        assert foreign not in text


def test_status_tells_numbers_only(http):
    status = http.get("/status").json()
    assert set(status) == {"model", "sessions", "in_line", "engine"}
    assert all(isinstance(value, int) for value in {**status["sessions"], **status["engine"]}.values())


def test_two_sessions_cannot_reach_each_other(app, small_png):
    anna, ben = PageClient(app.url), PageClient(app.url)
    try:
        anna.upload("a.png", small_png)
        call = ben.move_slider(4)
        assert "overlay" not in json.dumps(call.data)  # ben has no image, so there is no plan for him
    finally:
        anna.close()
        ben.close()
