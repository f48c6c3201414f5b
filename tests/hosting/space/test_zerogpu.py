"""ZeroGPU: the real ``spaces`` package, first off a Space, then with its forked workers against a stand-in scheduler."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlparse

import pytest
import spaces

from ixc.application.model_choice import offered_models
from ixc.chat.events import AnswerStats, Finished, FinishReason, PrefillProgress, TextDelta
from ixc.chat.loading import load_engine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView
from ixc.errors import EmptyQuestion, EngineBusy, SettingsError
from ixc.hosting.options import is_zero_gpu
from ixc.hosting.space.zerogpu import Failed, SharedFlags, load_zero_gpu_engine, start_services
from ixc.imaging.decode import decode_image
from ixc.settings import GenerationSettings, ImageLimits, Settings
from tests.checkpoints import REFERENCE, write_chat_checkpoint

ROOT = Path(__file__).parents[3]
GREEDY = GenerationSettings(max_new_tokens=12, do_sample=False)
PICTURES = [REFERENCE / "img_landscape.png", REFERENCE / "img_portrait.png"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    checkpoint = write_chat_checkpoint(tmp_path_factory.mktemp("model"))
    return Settings(model=str(checkpoint), prefill_chunk_tokens=64)


@pytest.fixture(scope="module")
def images():
    return {image.image_id: image for image in (decode_image(path, ImageLimits()) for path in PICTURES)}


@pytest.fixture(scope="module")
def plain_text(settings, images):
    """What the ordinary engine answers."""
    engine = load_engine(settings)
    yield text_of(engine.answer(request(images), StopFlag()))
    engine.close()


def request(images, question="What is it?", budget=4, **options):
    view = ImageView(next(iter(images)), budget)
    return ChatRequest(question=question, images=images, **{"session_id": "a", "view": view, "generation": GREEDY, **options})


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# --- off ZeroGPU ----------------------------------------------------------------------------------------------------


def test_off_a_space_nothing_changes(settings, images, plain_text):
    assert not is_zero_gpu({})
    assert is_zero_gpu({"SPACES_ZERO_GPU": "true"})
    engine = load_zero_gpu_engine(settings, spaces.GPU, device="cpu")
    assert text_of(engine.answer(request(images), StopFlag())) == plain_text
    with pytest.raises(EmptyQuestion):
        list(engine.answer(request(images, " "), StopFlag()))
    engine.close()


def test_the_page_offers_the_one_model_that_is_loaded(monkeypatch):
    """Its workers inherit the model of the main process: another one could not be loaded."""
    loaded = []

    def load(settings: Settings, *_: object, **__: object) -> object:
        loaded.append(settings)
        figures = dict.fromkeys(("model_name", "device_name", "limits_note", "default_system", "served_as"), "")
        return SimpleNamespace(**figures, layout=None, default_generation=GREEDY, is_away=False, failure=None)

    monkeypatch.setattr("ixc.hosting.space.zerogpu.load_zero_gpu_engine", load)
    services = start_services(Settings(model="vl-7b", models="4khd-7b", host="127.0.0.1"))
    assert services.provider.wait(10)
    assert [model.key for model in offered_models(services.settings)] == ["vl-7b"]
    assert loaded == [services.settings]


def test_the_duration_follows_the_plan(settings, images, monkeypatch):
    engine = load_zero_gpu_engine(settings, spaces.GPU, device="cpu")
    # As if the model were as large as the 7B: the tiny one's answers all cost the least there is.
    monkeypatch.setattr("ixc.hosting.space.zerogpu._FLOP_PER_S", 1e9)
    monkeypatch.setattr("ixc.hosting.space.zerogpu._TOKEN_OVERHEAD_S", 0.1)
    asked = [engine.duration_s(request(images, budget=budget)) for budget in (1, 4, 10_000)]
    assert 10 < asked[0] < asked[1] < asked[2]
    assert asked[2] == 80, "more is not lent"
    short, longer = (GenerationSettings(max_new_tokens=n, do_sample=False) for n in (100, 300))
    by_text = [engine.duration_s(request(images, view=None, generation=generation)) for generation in (short, longer)]
    assert by_text[1] - by_text[0] == pytest.approx(200 * 0.1, abs=1)
    engine.close()


def test_what_crosses_the_fork_pickles(images):
    stats = AnswerStats(1.0, 2, 3, 4, None, 5)
    for value in (
        request(images),
        PrefillProgress("vision", 1, 2),
        TextDelta("字"),
        Finished(FinishReason.STOPPED, stats),
        Failed("EmptyQuestion", "Type a question first."),
    ):
        copy = pickle.loads(pickle.dumps(value))
        assert copy.images.keys() == value.images.keys() if isinstance(value, ChatRequest) else copy == value
    assert isinstance(Failed("EmptyQuestion", "Type a question first.").as_error(), EmptyQuestion)


def test_flags_are_seen_by_a_child_and_do_not_run_out():
    flags = SharedFlags(2)
    first, second = flags.take(), flags.take()
    with pytest.raises(EngineBusy):
        flags.take()
    child = os.fork()
    if child == 0:
        flags.set(second)
        os._exit(0)
    os.waitpid(child, 0)
    assert (flags.is_set(first), flags.is_set(second)) == (False, True)
    flags.give_back(second)
    assert not flags.is_set(flags.take())


# --- on ZeroGPU -----------------------------------------------------------------------------------------------------


class StandInScheduler:
    """Lends GPU number ``gpu``, or says that the quota is used up; records what is asked."""

    def __init__(self) -> None:
        self.gpu = 0
        self.has_quota = True
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._seen: set[int] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(scheduler) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_POST(self) -> None:
                url = urlparse(self.path)
                scheduler.asked.append((url.path, {key: values[0] for key, values in parse_qs(url.query).items()}))
                if url.path == "/schedule" and not scheduler.has_quota:
                    return self._answer(429, {"left": 0, "wait": 3600})
                if url.path == "/schedule":
                    is_idle = scheduler.gpu in scheduler._seen
                    scheduler._seen.add(scheduler.gpu)
                    token = f"token-{len(scheduler.asked)}"
                    lent = {"idle": is_idle, "nvidiaIndex": scheduler.gpu, "nvidiaUUID": "GPU", "allowToken": token}
                    return self._answer(200, lent)
                return self._answer(200, {})

            def _answer(self, status: int, value: object) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


def run_space(settings, scheduler, tmp_path):
    """Run the Space's program; whenever it asks, something else happens at the scheduler."""
    changes = [("gpu", 1), ("gpu", 2), ("has_quota", False)]
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("1:devices:/space\n")
    env = {
        **os.environ,
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": scheduler.url,
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(cgroup),
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.hosting.space.zerogpu_space", settings.model, *map(str, PICTURES)]
    with (tmp_path / "errors").open("wb") as errors:
        space = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        said = None
        try:
            for line in space.stdout:
                if not line.startswith(("{", '"')):
                    continue  # what spaces prints
                said = json.loads(line)
                if said == "continue?":
                    setattr(scheduler, *changes.pop(0))
                    space.stdin.write("\n")
                    space.stdin.flush()
            space.wait(60)
        finally:
            space.kill()
            space.wait()
    assert isinstance(said, dict), (tmp_path / "errors").read_text()[-3000:]
    return said


def test_answers_of_forked_workers(settings, plain_text, tmp_path):
    """One Space, through everything that can happen to its workers."""
    scheduler = StandInScheduler()
    try:
        done = run_space(settings, scheduler, tmp_path)
    finally:
        scheduler.close()
    assert done["first"]["text"] == plain_text
    assert done["first"]["cached"] == 0
    second, elsewhere = done["second"], done["second_elsewhere"]
    assert second["cached"] >= done["first"]["prompt"], "the same worker still has the prefix"
    assert elsewhere["cached"] == 0, "another worker has nothing"
    assert elsewhere["text"] == second["text"]
    assert done["stopped"]["reason"] == "stopped"
    assert done["after_stop"]["text"] == done["after_leaving"]["text"] == plain_text
    assert done["nothing_asked"]["error"] == "EmptyQuestion"
    assert (done["expected_error"]["error"], done["unexpected_error"]["error"]) == ("ImageError", "GpuUnavailable")
    assert "ask again" in done["unexpected_error"]["sentence"]
    assert done["no_gpu"]["error"] == "GpuUnavailable"
    assert done["under_way"] == 0
    scheduled = [asked for path, asked in scheduler.asked if path == "/schedule"]
    assert int(scheduled[0]["durationSeconds"]) == done["duration_s"] == 10
    lent, given_back = (sum(path == wanted for path, _ in scheduler.asked) for wanted in ("/allow", "/release"))
    assert len(scheduled) == 10, "an empty question borrows none"
    assert lent == 3, "one worker for each GPU, used again"
    assert given_back == len(scheduled) - 1, "every GPU that was lent is given back; the last was not"


def test_int4_is_refused_before_anything_is_loaded():
    """torchao packs it for the device it is made on; the GPU is lent later."""
    with pytest.raises(SettingsError, match="On ZeroGPU int4 weights cannot be used"):
        load_zero_gpu_engine(Settings(precision="int4"), lambda **_: None, device="cuda")
