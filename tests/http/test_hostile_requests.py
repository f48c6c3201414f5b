"""Requests that no page would send. The Python client is too well-behaved for these, so they are raw."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from ixc.benchmarks.page_client import PageClient


@pytest.fixture
def tab(app):
    client = PageClient(app.url)
    yield client
    client.close()


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
    assert list(tab.stream("ixc-transcript", "edit", "ixc-transcript", event_data)) in ([], [None])


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
