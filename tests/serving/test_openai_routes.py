"""``/v1`` while nothing happens: streams that say so, callers who leave, and a model that is changed meanwhile."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import openai
import pytest
from starlette.applications import Starlette

from ixc.application.services import Services
from ixc.serving.answers import Answering
from ixc.serving.openai_request import ModelNotFound
from ixc.serving.openai_routes import openai_routes
from tests.event_loops import run_apart
from tests.served import Server
from tests.two_models import SINGLE, TILED, NamedEngine, switch, two_models

WAITING = ": waiting"


@dataclass(frozen=True)
class Served:
    """The routes on a real server."""

    services: Services
    url: str

    @property
    def engine(self) -> NamedEngine:
        return self.services.provider.engine

    def ask(self, model: str = TILED.name, *, streams: bool = True) -> httpx.Response:
        return httpx.post(f"{self.url}/chat/completions", json=body(model, streams=streams), timeout=30)


def body(model: str = TILED.name, *, streams: bool = True) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": "What?"}], "stream": streams}


@pytest.fixture
def served() -> Iterator[Served]:
    services = two_models()
    app = Starlette(routes=openai_routes(Answering(services)))
    with Server(app, log_level="error") as server:
        yield Served(services, f"{server.url}/v1")


@pytest.fixture
def soon(monkeypatch) -> None:
    """A twentieth of a second without news is a silence."""
    monkeypatch.setattr("ixc.serving.openai_routes._SILENCE_S", 0.05)


def data(lines: list[str]) -> list[dict]:
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def text(lines: list[str]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in data(lines) for choice in chunk["choices"])


@pytest.mark.parametrize("ahead", ["the model is silent", "others are ahead"])
def test_a_stream_in_which_nothing_happens_says_that_it_goes_on(served, soon, ahead):
    ticket = served.services.line.enter() if ahead == "others are ahead" else None
    served.engine.may_speak.clear()
    lines: list[str] = []
    with httpx.stream("POST", f"{served.url}/chat/completions", json=body(), timeout=30) as answer:
        for line in answer.iter_lines():
            lines.append(line)
            if ticket is not None and lines.count(WAITING) == 3:
                ticket.leave()
            if lines.count(WAITING) == 6:
                served.engine.may_speak.set()
    assert answer.status_code == 200
    assert lines.count(WAITING) >= 6
    assert text(lines) == TILED.title  # every letter, once and in order
    assert lines[-2] == "data: [DONE]"


def test_openais_client_passes_over_what_keeps_the_stream_alive(served, soon):
    served.engine.may_speak.clear()
    with openai.OpenAI(base_url=served.url, api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(**body())  # has begun, with the first silence
        served.engine.may_speak.set()
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == TILED.title


def test_a_stream_with_news_is_not_commented_on(served):
    assert WAITING not in served.ask().text


@pytest.mark.parametrize("where", ["in the line", "at the model"])
def test_a_caller_who_leaves_a_silent_stream_ends_its_question_at_once(served, where):
    """Not only after ten seconds, when the next comment cannot be sent."""
    ticket = served.services.line.enter() if where == "in the line" else None
    served.engine.may_speak.clear()
    served.engine.tells_progress = True
    with httpx.stream("POST", f"{served.url}/chat/completions", json=body(), timeout=30) as answer:
        next(answer.iter_lines())
        assert served.services.traffic.num_running == 1
    assert served.services.traffic.wait_until_idle(30)
    assert served.engine.was_left.is_set() == (where == "at the model")
    if ticket is not None:
        assert served.services.line.num_inside == 1
        assert served.engine.requests == []


def test_a_caller_who_leaves_before_anything_was_said_ends_its_question_too(served):
    served.engine.may_speak.clear()
    address = httpx.URL(served.url)
    caller = http.client.HTTPConnection(address.host, address.port)
    caller.request("POST", f"{address.path}/chat/completions", json.dumps(body()), {"Content-Type": "application/json"})
    assert served.engine.is_asked.wait(30)
    caller.close()
    assert served.engine.was_left.wait(30)


@pytest.mark.parametrize("streams", [True, False])
def test_a_question_that_waits_through_a_switch_is_not_answered_under_the_old_name(served, streams):
    ticket, lines, statuses, has_begun = served.services.line.enter(), [], [], threading.Event()

    def ask() -> None:
        with httpx.stream("POST", f"{served.url}/chat/completions", json=body(streams=streams), timeout=30) as answer:
            statuses.append(answer.status_code)
            for line in answer.iter_lines():
                lines.append(line)
                has_begun.set()

    thread = threading.Thread(target=ask)
    thread.start()
    if streams:
        assert has_begun.wait(30)  # with its place in the line
    while served.services.line.num_inside < 2:
        assert thread.is_alive()
        time.sleep(0.01)
    switch(served.services, SINGLE)
    ticket.leave()
    thread.join(30)
    error = (data(lines)[-1] if streams else json.loads(lines[0]))["error"]
    assert statuses == [200 if streams else 404]
    assert (error["code"], error["type"]) == ("model_not_found", "invalid_request_error")
    assert "'ixc-nano'" in error["message"]
    assert "'vl-7b'" in error["message"]
    assert served.engine.requests == []
    assert text(served.ask(SINGLE.name).text.splitlines()) == SINGLE.title


def test_a_model_that_is_about_to_go_still_answers_what_it_was_asked():
    """Another is chosen when the question has just got the model: by then the status tells of the next one."""

    async def scene() -> None:
        services = two_models()
        engine, answering = services.provider.engine, Answering(services)
        check = answering._check_of(TILED.name)
        with services.provider.borrowed():
            services.provider.switch(SINGLE.name)
            assert services.provider.status.phase == "loading"
            check(engine)
            with pytest.raises(ModelNotFound):
                check(NamedEngine(SINGLE))
        del engine
        assert services.provider.wait(30)
        with pytest.raises(ModelNotFound):
            check(services.provider.engine)

    run_apart(scene())


def test_a_model_is_told_by_its_name(served):
    with openai.OpenAI(base_url=served.url, api_key="none", max_retries=0) as client:
        (listed,) = client.models.list().data
        for name in (TILED.name, TILED.title):
            found = client.models.retrieve(name)
            assert (found.id, found.object, found.owned_by) == (TILED.name, "model", "ixc")
            assert found == listed
        for name in ("gpt-9", f"{TILED.name}/x", "../models", SINGLE.name):
            with pytest.raises(openai.NotFoundError, match="There is no model") as refused:
                client.models.retrieve(name)
            assert refused.value.code == "model_not_found"
            assert refused.value.type == "invalid_request_error"
    assert httpx.get(f"{served.url}/models/").json() == httpx.get(f"{served.url}/models").json()


def test_a_model_whose_name_is_a_path_is_told_too(served):
    for name in ("/models/of mine/tuned", "owner/model"):
        served.services.provider._status = replace(served.services.provider.status, key=name)
        with openai.OpenAI(base_url=served.url, api_key="none", max_retries=0) as client:
            assert client.models.retrieve(name).id == name
