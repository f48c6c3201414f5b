"""A server behind the app that fails, refuses, is silent or away: what the engine says of it, and that it comes back."""

from __future__ import annotations

import base64
import logging
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from ixc.application.model_choice import offered_models
from ixc.chat.backend_address import shown_address
from ixc.chat.events import Finished, FinishReason
from ixc.chat.remote import connect_engine
from ixc.chat.remote_messages import encode_image
from ixc.chat.request import StopFlag
from ixc.errors import BackendFailed, BackendLost, BackendRefused, CheckpointError, EngineBusy, SettingsError
from ixc.image_layout import DUAL_PERSPECTIVE
from ixc.imaging.decode import decode_image
from ixc.settings import Settings
from tests.http.backend_questions import question, text_of
from tests.http.flaky_server import ODD_LINE_ENDS, Flaky, flaky_server


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
        ("locked", BackendFailed, "set IXC_BACKEND_KEY"),  # a new key since: nothing that whoever asks can do
        ("locked to questions", BackendFailed, "set IXC_BACKEND_KEY"),
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


@pytest.mark.parametrize(
    ("at_the_server", "asked", "sent"),
    [(1, 1, None), (1, 3, 3), (3, 3, 3), (3, 1, 1)],  # left out, its own would be taken
)
def test_beams_are_named_unless_neither_side_has_any(image, at_the_server, asked, sent):
    with flaky_server() as port:
        Flaky.kind = {"ixc": {**Flaky.kind["ixc"], "generation": {"num_beams": at_the_server}}}
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        generation = replace(engine.default_generation, num_beams=asked, do_sample=False)
        list(engine.answer(replace(question(image), generation=generation), StopFlag()))
        engine.close()
    assert [body.get("num_beams") for body in Flaky.asked] == [sent]


def test_a_password_in_the_address_is_used_and_shown_to_nobody(caplog):
    with flaky_server() as port:
        settings = Settings(backend=f"http://alice:s3cret@127.0.0.1:{port}/v1")
        with caplog.at_level(logging.INFO):
            engine = connect_engine(settings)
        engine.close()
    assert Flaky.known_as == "Basic " + base64.b64encode(b"alice:s3cret").decode()
    assert (engine.info.device, offered_models(settings)[0].title) == ("", "Another server")
    assert shown_address(settings.backend) == f"http://127.0.0.1:{port}/v1"
    assert shown_address("alice:s3cret@host") == "host"
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

        def forget_once_asked() -> None:
            while not engine.memory_report()["requests"]:
                time.sleep(0.01)
            engine.forget("session")

        threading.Thread(target=forget_once_asked, daemon=True).start()
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
