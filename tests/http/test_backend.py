"""The app on another server's model: the same answers, its cache, Stop, and a page in front of it."""

from __future__ import annotations

import base64
import json
import tempfile
import time
from pathlib import Path

import gradio_client
import httpx
import openai
import pytest

from ixc.benchmarks.app_process import AppProcess
from ixc.chat.events import FinishReason, TextDelta
from ixc.chat.interface import ChatEngine
from ixc.chat.remote import connect_engine
from ixc.chat.remote_messages import encode_image
from ixc.chat.request import StopFlag
from ixc.conversation import ImageView, Turn
from ixc.settings import GenerationSettings, Settings
from ixc.tiling import SizePx
from tests.event_loops import run_apart
from tests.http.backend_questions import question, text_of
from tests.mcp_session import mcp_session


@pytest.fixture(scope="module")
def engine(app):
    connected = connect_engine(Settings(backend=app.url))
    yield connected
    connected.close()


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
