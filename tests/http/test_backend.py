"""The app on another server's model: the same answers, Stop, and a server that is killed in mid-answer and comes back."""

from __future__ import annotations

import base64
import http.server
import json
import logging
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import gradio_client
import httpx
import numpy as np
import openai
import pytest

from ixc.application.model_choice import offered_models
from ixc.benchmarks.app_process import AppProcess
from ixc.chat.events import Finished, FinishReason, TextDelta
from ixc.chat.interface import ChatEngine
from ixc.chat.remote import connect_engine
from ixc.chat.remote_messages import encode_image
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView, Turn
from ixc.errors import BackendFailed, BackendLost, BackendRefused, CheckpointError, EngineBusy, SettingsError
from ixc.image_layout import DUAL_PERSPECTIVE
from ixc.imaging.decode import DecodedImage, decode_image
from ixc.settings import GenerationSettings, Settings
from ixc.tiling import SizePx
from tests.event_loops import run_apart
from tests.mcp_session import mcp_session

GREEDY = GenerationSettings(max_new_tokens=8, do_sample=False, repetition_penalty=1.0)
ODD_LINE_ENDS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei"
"""What str.splitlines takes for line ends and a stream of events does not."""


@pytest.fixture(scope="module")
def image():
    rows, cols = np.mgrid[0:200, 0:300]
    return DecodedImage.from_pixels(np.stack([rows, cols % 256, rows], axis=-1).astype(np.uint8))


@pytest.fixture(scope="module")
def engine(app):
    connected = connect_engine(Settings(backend=app.url))
    yield connected
    connected.close()


def question(image, text="What?", *, turns=(), generation=GREEDY, budget=2):
    view = ImageView(image.image_id, budget)
    return ChatRequest("session", text, view, tuple(turns), {image.image_id: image}, "Be brief.", generation)


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_it_is_an_engine_that_knows_the_model_behind_it(app, engine):
    assert isinstance(engine, ChatEngine)
    assert engine.model_name == httpx.get(f"{app.url}/v1/models").json()["data"][0]["name"]
    assert engine.layout.plan(SizePx(200, 300), 4).num_visual_tokens == 144 * 5 + 12 * 3 + 1
    assert engine.default_max_patches == 4
    assert "InternLM-XComposer" in engine.default_system


def test_answers_are_those_of_the_server(app, engine, image):
    events = list(engine.answer(question(image), StopFlag()))
    with openai.OpenAI(base_url=f"{app.url}/v1", api_key="none") as client:
        content = [
            {"type": "image_url", "image_url": {"url": encode_image(image.pixels_HWC)}},
            {"type": "text", "text": "What?"},
        ]
        direct = client.chat.completions.create(
            model=client.models.list().data[0].id,
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}],
            temperature=0,
            max_tokens=8,
            extra_body={"max_patches": 2, "repetition_penalty": 1.0},
        )
    assert text_of(events) == direct.choices[0].message.content != ""
    stats = events[-1].stats
    assert stats.num_visual_tokens == direct.usage.prompt_tokens_details.image_tokens
    assert stats.num_prompt_tokens == direct.usage.prompt_tokens
    assert stats.time_to_first_token_ms > 0


def test_the_next_turn_finds_the_servers_cache(engine, image):
    first = list(engine.answer(question(image, "One?"), StopFlag()))
    turns = [Turn("One?", text_of(first), ImageView(image.image_id, 2))]
    second = list(engine.answer(question(image, "Two?", turns=turns), StopFlag()))
    assert second[-1].stats.num_cached_tokens >= first[-1].stats.num_prompt_tokens - 1
    assert engine.memory_report()["entries"] == 1  # the picture was encoded once
    engine.forget("session")
    assert engine.memory_report()["entries"] == 0


def test_stop_ends_the_answer_there_too(app, engine, image):
    stop = StopFlag()
    long = GenerationSettings(max_new_tokens=4096, do_sample=False)
    events = []
    for event in engine.answer(question(image, "Long?", generation=long), stop):
        events.append(event)
        if isinstance(event, TextDelta):
            stop.set()
    assert events[-1].reason is FinishReason.STOPPED
    deadline_s = time.monotonic() + 20
    while httpx.get(f"{app.url}/status").json()["in_line"]:
        assert time.monotonic() < deadline_s, "the server goes on answering"
    assert text_of(events)


def test_a_page_served_from_a_backend(app, image):
    """A second app, without a model of its own, in front of the first, that allows smaller budgets only."""
    with AppProcess({"IXC_BACKEND": app.url, "IXC_MAX_PATCHES": "2"}) as front:
        assert front.wait_for_model() == "ready", front.log()
        with openai.OpenAI(base_url=f"{front.url}/v1", api_key="none") as client:
            answer = client.chat.completions.create(
                model=client.models.list().data[0].id,
                messages=[{"role": "user", "content": "Hi"}],
                max_tokens=3,
            )
        assert answer.usage.completion_tokens <= 3
        assert _budgets_of_plans_that_name_none(front, image) == [2, 2]
        assert "libtorch" not in Path(f"/proc/{front.pid}/maps").read_text()  # nor anything else that only a model needs


def _budgets_of_plans_that_name_none(app, image):
    """By both ways that plan without asking the model."""
    png = base64.b64decode(encode_image(image.pixels_HWC).partition(",")[2])

    async def by_mcp():
        async with mcp_session(app.url) as client:
            called = await client.call_tool("plan_image", {"image_url": encode_image(image.pixels_HWC)})
            return json.loads(called.content[0].text)

    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(png)
        file.flush()
        client = gradio_client.Client(app.url, verbose=False)
        facts = client.predict(image=gradio_client.handle_file(file.name), api_name="/plan")
        client.close()
    return [facts["max_patches"], run_apart(by_mcp())["max_patches"]]


# --- a server that fails --------------------------------------------------------------------------------------------


class Flaky(http.server.BaseHTTPRequestHandler):
    """Speaks the protocol; what it does with a question is in ``behaviour``."""

    behaviour = "answer"
    models = ("INF-LLaVA",)
    asked = ()
    """The bodies of the questions so far."""
    known_as = None
    """The Authorization header of the last request."""
    released = threading.Event()
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        type(self).known_as = self.headers["Authorization"]
        if type(self).behaviour == "silent":
            type(self).released.wait(30)
        if type(self).behaviour == "starting":  # as a proxy whose servers are not up yet
            return self._json(503, {"error": {"message": "No server is up.", "code": "no_replica"}})
        own = {"layout": {"kind": "dual_perspective", "view_px": 336}}
        return self._json(200, {"data": [{"id": name, "ixc": own} for name in type(self).models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked += (body,)
        if type(self).behaviour == "strict":
            return self._json(400, {"error": {"message": "max_tokens must be at least 1."}})
        if type(self).behaviour == "vllm" and "mm_processor_kwargs" in body:  # without --trust-request-mm-kwargs
            return self._json(400, {"error": {"message": "Per-request mm_processor_kwargs are disabled by default"}})
        if type(self).behaviour == "busy":
            return self._json(429, {"error": {"message": "All places are taken.", "code": "server_busy"}})
        if type(self).behaviour == "error":
            return self._json(500, {"error": {"message": "something broke"}})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        if type(self).behaviour == "nonsense":
            self.wfile.write(b"data: {broken\n\n")
            return None
        for word in (ODD_LINE_ENDS,) if type(self).behaviour == "odd" else ("All ", "is "):
            self._delta({"content": word})
        if type(self).behaviour == "die":
            self.connection.close()
            return None
        self._delta({"content": "well"}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def _delta(self, delta, finish=None):
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        self.wfile.write(f"data: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n".encode())
        self.wfile.flush()

    def _json(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def flaky_server(port=0):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Flaky.behaviour, Flaky.models, Flaky.asked = "answer", ("INF-LLaVA",), ()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_lost_in_mid_answer_leaves_the_text_and_comes_back(image):
    with flaky_server() as port:
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        assert engine.layout == DUAL_PERSPECTIVE
        Flaky.behaviour = "die"
        events = []
        with pytest.raises(BackendFailed, match="press Retry"):
            events.extend(engine.answer(question(image), StopFlag()))
        assert text_of(events) == "All is "
    with pytest.raises(BackendLost, match="cannot be reached"):
        list(engine.answer(question(image), StopFlag()))
    assert engine.is_away
    with flaky_server(port):
        events = list(engine.answer(question(image), StopFlag()))
        deadline_s = time.monotonic() + 20
        while engine.is_away:  # seen by itself, nobody has to ask
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    assert text_of(events) == "All is well"
    assert isinstance(events[-1], Finished)
    assert engine.memory_report()["requests"] == 0
    engine.close()


@pytest.mark.parametrize(
    ("behaviour", "error", "words"),
    [
        ("busy", EngineBusy, "places are taken"),
        ("error", BackendFailed, "something broke"),
        ("nonsense", BackendFailed, "IXC_BACKEND"),
        ("strict", BackendRefused, "max_tokens must be at least 1"),
    ],
)
def test_a_servers_refusals_are_sentences(image, behaviour, error, words):
    with flaky_server() as port:
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}/v1"))
        Flaky.behaviour = behaviour
        with pytest.raises(error, match=words):
            list(engine.answer(question(image), StopFlag()))
        engine.close()


def test_a_server_that_takes_no_budget_is_asked_without_one(image):
    with flaky_server() as port:
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        Flaky.behaviour = "vllm"
        for _ in range(2):
            assert text_of(engine.answer(question(image), StopFlag())) == "All is well"
        engine.close()
    assert ["mm_processor_kwargs" in body for body in Flaky.asked] == [True, False, False]


@pytest.mark.parametrize(("named", "chosen"), [("qwen-vl", "qwen-vl"), ("ixc-nano", "text-embedding-3")])
def test_the_named_model_is_asked_where_a_server_has_several(image, named, chosen):
    with flaky_server() as port:
        Flaky.models = ("text-embedding-3", "qwen-vl")
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}", model=named))
        assert engine.info.name == chosen
        list(engine.answer(question(image), StopFlag()))
        engine.close()
    assert [body["model"] for body in Flaky.asked] == [chosen]


def test_a_password_in_the_address_is_used_and_shown_to_nobody(caplog):
    with flaky_server() as port:
        settings = Settings(backend=f"http://alice:s3cret@127.0.0.1:{port}/v1")
        with caplog.at_level(logging.INFO):
            engine = connect_engine(settings)
        engine.close()
    assert Flaky.known_as == "Basic " + base64.b64encode(b"alice:s3cret").decode()
    shown = f"http://127.0.0.1:{port}/v1"
    assert (engine.info.device, offered_models(settings)[0].title) == (shown, shown)
    assert "s3cret" not in caplog.text
    with pytest.raises(SettingsError) as refusal:
        connect_engine(Settings(backend="ftp://alice:s3cret@host"))
    assert "s3cret" not in str(refusal.value)


def test_signs_that_only_python_takes_for_line_ends_stay_in_the_answer(image):
    with flaky_server() as port:
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        Flaky.behaviour = "odd"
        assert text_of(engine.answer(question(image), StopFlag())) == f"{ODD_LINE_ENDS}well"
        engine.close()


def test_a_server_whose_models_are_not_up_yet_is_waited_for(image):
    seen = []

    def report(step, _share):
        seen.append(step)
        Flaky.behaviour = "answer"

    with flaky_server() as port:
        Flaky.behaviour = "starting"
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"), report)
        assert "Waiting for the model" in seen[0]
        Flaky.behaviour = "starting"
        with pytest.raises(BackendLost, match="press Retry"):
            list(engine.answer(question(image), StopFlag()))
        assert engine.is_away
        engine.close()


def test_stop_and_forgetting_do_not_wait_for_a_silent_server(image):
    with flaky_server() as port:
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        Flaky.behaviour = "silent"
        Flaky.released.clear()
        stop = StopFlag()
        threading.Timer(0.2, engine.forget, ["session"]).start()
        events = list(engine.answer(question(image), stop))  # the server is silent until after it
        assert [event.reason for event in events] == [FinishReason.STOPPED]
        Flaky.released.set()
        for thread in threading.enumerate():
            if thread.name == "ixc-remote":
                thread.join(30)
        assert engine.memory_report() == {"sessions": 0, "entries": 0, "bytes": 0, "model_bytes": 0, "requests": 0}
        engine.close()


def test_a_large_photograph_is_sent_smaller_than_servers_allow():
    noise = np.random.default_rng(1).integers(0, 256, (2400, 2400, 3), dtype=np.uint8)
    url = encode_image(noise)
    assert url.startswith("data:image/jpeg;base64,")
    assert len(url) * 3 / 4 < Settings().images.max_bytes / 2
    decoded = decode_image(base64.b64decode(url.partition(",")[2]), Settings().images)
    assert np.abs(decoded.pixels_HWC.astype(int) - noise).mean() < 4
    assert encode_image(noise[:200]).startswith("data:image/png;base64,")


def test_connecting_waits_for_the_server_and_can_be_given_up():
    seen, give_up = [], threading.Event()

    def report(step, _share):
        seen.append(step)
        give_up.set()

    with pytest.raises(CheckpointError, match="cannot be reached"):
        connect_engine(Settings(backend="http://127.0.0.1:9"), report, give_up)
    assert "Waiting for the server" in seen[0]


@pytest.mark.parametrize("is_starting", [False, True], ids=["nobody is there", "no model yet"])
def test_waiting_for_the_server_is_logged_once(caplog, monkeypatch, is_starting):
    monkeypatch.setattr("ixc.chat.remote._TRY_AGAIN_S", 0.001)
    seen, give_up = [], threading.Event()

    def report(step, _share):
        seen.append(step)
        if len(seen) == 5:
            give_up.set()

    with flaky_server() as port, caplog.at_level(logging.INFO, "ixc"):
        Flaky.behaviour = "starting"
        backend = f"http://127.0.0.1:{port if is_starting else 9}"
        with pytest.raises(CheckpointError):
            connect_engine(Settings(backend=backend), report, give_up)
    assert len(seen) == 5
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ixc.chat.remote"]
    assert backend in line


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:8000", "ftp://host", "http://", "http:///v1", "http://:8000"),
        *("http://[::1", "http://[zz]:80", "http://127.0.0.1:99999", "http://127.0.0.1:0", "http://127.0.0.1:http"),
        *("https://a b", "http://a\tb", "http://host:80 ", " http://host", "http://a\x00b"),
    ],
)
def test_an_address_that_nobody_can_have_is_refused_at_once(address):
    given_up = threading.Event()
    given_up.set()  # or an address that is not refused would be waited for
    with pytest.raises(SettingsError, match="IXC_BACKEND must be an http"):
        connect_engine(Settings(backend=address), None, given_up)


@pytest.mark.parametrize(
    "address", ["http://host.invalid", "https://[::1]:9/v1/", "HTTP://127.0.0.1:9", "http://me:word@127.0.0.1:9/at"]
)
def test_an_address_that_somebody_may_have_is_waited_for(address):
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(CheckpointError, match="cannot be reached"):
        connect_engine(Settings(backend=address), None, given_up)
