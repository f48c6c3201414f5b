"""A real Gradio server whose pages come, ask and go: its queue must end up holding nothing for those that are gone."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
import httpx
import pytest

from ixc.ui.gradio_guard import forget_mailbox, keep_no_past_events, keep_users_apart, keep_words_to_users

TIMEOUT_S = 30


class Server:
    """Answers with the question itself; "wait" is answered once ``go`` is set, "fail" raises what it is given.

    ``/one`` is the same, one at a time.
    """

    def __init__(self) -> None:
        self.go, self.is_waiting = threading.Event(), threading.Event()
        self.closed: queue.SimpleQueue[str] = queue.SimpleQueue()
        with gr.Blocks() as self.demo:
            box = gr.Textbox()
            box.submit(self._answer, box, box, concurrency_limit=None)
            box.change(self._answer, box, box, concurrency_limit=1, api_name="one")
            self.demo.unload(forget_mailbox(self.demo))
            self.demo.unload(self._note_closed)  # Gradio runs them in this order
        self.demo.queue(max_size=4)
        keep_users_apart(self.demo)
        keep_no_past_events(self.demo)
        keep_words_to_users(self.demo)

    def _answer(self, question: str) -> Iterator[str]:
        if question == "wait":
            self.is_waiting.set()
            self.go.wait(TIMEOUT_S)
        if question.startswith("fail"):
            raise ValueError(question)
        yield question

    def _note_closed(self, request: gr.Request) -> None:
        self.closed.put(request.session_hash)

    @contextmanager
    def page(self, session: str) -> Iterator[httpx.Client]:
        """An open page: its heartbeat. Left once the server has dealt with its end."""
        with httpx.Client(base_url=f"{self.demo.local_url}gradio_api", timeout=TIMEOUT_S) as client:
            with client.stream("GET", f"/heartbeat/{session}") as heartbeat:
                lines = heartbeat.iter_lines()  # kept: httpx ends a stream whose iterator is dropped
                next(lines)
                yield client
            assert self.closed.get(timeout=TIMEOUT_S) == session

    def join(self, client: httpx.Client, session: str, question: str) -> None:
        body = {"fn_index": 0, "data": [question], "session_hash": session}
        client.post("/queue/join", json=body).raise_for_status()

    def ask(self, client: httpx.Client, session: str, question: str) -> str:
        """The last answer that is shown."""
        self.join(client, session, question)
        shown = ""
        with client.stream("GET", "/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line else {}
                if message.get("msg") in ("process_generating", "process_completed"):
                    shown = message["output"]["data"][0]
        return shown

    def held(self) -> dict[str, object]:
        """What Gradio's queue holds per session and per event, once every event has ended, also one that nobody hears."""
        events = self.demo._queue
        deadline_s = time.monotonic() + TIMEOUT_S
        while events.event_ids_to_events and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return {
            "mailboxes": set(events.pending_messages_per_session),
            "awaited": dict(events.pending_event_ids_session),
            "events": set(events.event_ids_to_events),
            "past": len(events.event_analytics),
        }


NOTHING = {"mailboxes": set(), "awaited": {}, "events": set(), "past": 0}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        yield server
    finally:
        server.go.set()
        server.demo.close(verbose=False)


def test_pages_that_were_closed_leave_nothing_and_open_ones_keep_what_is_theirs(server):
    with server.page("stays") as stays:
        assert server.ask(stays, "stays", "first") == "first"
        for number in range(5):
            with server.page(f"goes{number}") as goes:
                assert server.ask(goes, f"goes{number}", f"question {number}") == f"question {number}"
        assert server.held() == {"mailboxes": {"stays"}, "awaited": {"stays": set()}, "events": set(), "past": 0}
        assert server.ask(stays, "stays", "second") == "second"
    assert server.held() == NOTHING


def test_a_page_closed_in_the_middle_of_an_answer_is_forgotten_when_the_next_one_goes(server):
    with server.page("left") as left:
        server.join(left, "left", "wait")
        with left.stream("GET", "/queue/data", params={"session_hash": "left"}) as stream:
            lines = stream.iter_lines()
            next(lines)
            assert server.is_waiting.wait(TIMEOUT_S)
    with server.page("next") as following:
        server.go.set()
        assert server.ask(following, "next", "hello") == "hello"
    assert server.held() == NOTHING


def called(client: httpx.Client, name: str, *inputs: object) -> str:
    """What a call of a program's is answered."""
    event = client.post(f"/call/{name}", json={"data": inputs}).raise_for_status().json()["event_id"]
    return client.get(f"/call/{name}/{event}").text


def test_no_log_has_what_a_user_wrote_and_the_caller_gets_a_sentence(server, caplog, capfd):
    """Gradio would print the call's inputs, of whatever size, and answer nothing."""
    caplog.set_level(logging.INFO)
    with httpx.Client(base_url=f"{server.demo.local_url}gradio_api", timeout=TIMEOUT_S) as client:
        too_few = called(client, "_answer")
        failed = called(client, "_answer", "fail: my diagnosis")
        failed_at_once = client.post("/run/_answer", json={"data": ["fail: my diagnosis"]}).text
    assert "The call needs 1 values and got 0" in too_few
    assert "The call failed." in failed
    assert "The call failed." in failed_at_once
    raised = [record.raised for record in caplog.records if record.message == "a call failed"]
    assert len(raised) == 2
    assert all(text.startswith("ValueError < test_gradio_guard.py") for text in raised)
    printed = capfd.readouterr()
    for told in (caplog.text, *raised, printed.out, printed.err, too_few, failed, failed_at_once):
        assert "diagnosis" not in told
        assert "Traceback" not in told


def test_what_a_page_sent_and_was_answered_is_not_kept(server):
    """Gradio would keep it for a link to the page's state, of 256 pages."""
    with server.page("stays") as stays:
        assert server.ask(stays, "stays", "my private words") == "my private words"
        held = server.demo.app.state_holder["stays"]
        assert "private" not in str(list(held.components))


def test_one_network_fills_half_of_the_queue(server):
    def join(address: str, session: str) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=TIMEOUT_S) as client:
            body = {"fn_index": 1, "data": ["wait"], "session_hash": session}
            return client.post(f"{server.demo.local_url}gradio_api/queue/join", json=body)

    assert join("127.0.0.1", "first").status_code == 200
    assert server.is_waiting.wait(TIMEOUT_S)  # it is being answered; those after it wait
    assert [join("127.0.0.1", f"own {number}").status_code for number in range(3)] == [200, 200, 503]
    refused = join("127.0.0.1", "another").json()["detail"]
    assert refused == "Too many calls of your network wait; try again in a minute."
    assert join("127.0.0.2", "elsewhere").status_code == 200
