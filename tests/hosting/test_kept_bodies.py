"""What waits in Gradio's queue counts as memory until it is answered, though the call that brought it was answered at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import gradio as gr
import httpx
import pytest
from starlette.middleware import Middleware

from ixc.hosting.body_limits import BodyLimits, BodyRules
from ixc.ui.gradio_guard import keep_users_apart, keep_words_to_users

TIMEOUT_S = 20
LARGE = "x" * 100_000
RULES = BodyRules(max_upload_bytes=0, max_text_bytes=300_000, num_largest_held=1, small_bytes=1000)
"""One network may have 150 KB in memory."""


@pytest.fixture
def go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def client(go) -> Iterator[httpx.Client]:
    with gr.Blocks() as demo:
        box = gr.Textbox()

        def answer(question: str) -> str:
            assert go.wait(TIMEOUT_S)
            return question[:1]

        box.submit(answer, box, box, concurrency_limit=1, api_name="ask")
    demo.queue()
    keep_users_apart(demo)
    keep_words_to_users(demo)
    middleware = [Middleware(BodyLimits, rules=RULES)]
    demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, app_kwargs={"middleware": middleware})
    try:
        with httpx.Client(base_url=f"{demo.local_url}gradio_api", timeout=TIMEOUT_S) as client:
            yield client
    finally:
        go.set()
        demo.close(verbose=False)


def ask(client: httpx.Client, text: str) -> httpx.Response:
    return client.post("/call/ask", json={"data": [text]})


def test_small_calls_get_in_while_a_large_body_is_held(client):
    ask(client, LARGE).raise_for_status()
    assert ask(client, LARGE).status_code == 503
    assert ask(client, "small").status_code == 200


def test_a_body_is_held_until_its_call_has_ended_though_no_other_call_comes(client, go):
    """The loops that serve Gradio's queue remember the last event that they saw until there is another."""
    event = ask(client, LARGE).raise_for_status().json()["event_id"]
    assert ask(client, LARGE).status_code == 503
    go.set()
    assert '["x"]' in client.get(f"/call/ask/{event}").text
    deadline_s = time.monotonic() + TIMEOUT_S  # Gradio lets a call go a moment after its last word
    while (status := ask(client, LARGE).status_code) == 503 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert status == 200
