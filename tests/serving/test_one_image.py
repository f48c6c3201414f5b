"""``/v1`` with several images: which of them a question is about, and models that look at one at a time."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.chat.loading import load_engine
from ixc.conversation import XCOMPOSER2_CHAT, ImageView, Turn
from ixc.serving.answers import Answering
from ixc.serving.image_urls import ImageSource
from ixc.serving.openai_request import RequestParser
from ixc.serving.openai_routes import openai_routes
from ixc.settings import ImageLimits, Settings
from ixc.tiling import SizePx, plan_tiles
from tests.checkpoints import write_chat_checkpoint
from tests.event_loops import run_apart

BUDGET = 2


def url(width: int) -> str:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, 90)).convert("RGB").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


WIDE, WIDER = url(120), url(500)


def user(text: str, *urls: str) -> dict:
    images = [{"type": "image_url", "image_url": {"url": each}} for each in urls]
    return {"role": "user", "content": [*images, {"type": "text", "text": text}]}


def answer(text: str) -> dict:
    return {"role": "assistant", "content": text}


def parsed(*messages: dict):
    parser = RequestParser(ImageLimits(), ImageSource(10**6), 64)
    asked, images = parser.parse({"model": "m", "messages": list(messages)}, BUDGET)
    names = {image_id: index for index, image_id in enumerate(images)}
    turns = [[names[view.image_id] for view in turn.views] for turn in asked.turns]
    return asked, [*turns, [names[view.image_id] for view in asked.views]]


@pytest.mark.parametrize(
    ("messages", "about"),
    [
        ([user("What?", WIDE), answer("A."), user("Why?")], [[0], [0]]),
        ([user("What?", WIDE), answer("A."), user("And?", WIDER), answer("B."), user("Why?")], [[0], [1], [1]]),
        ([user("Hi"), answer("Hello."), user("What?", WIDE, WIDER), answer("A."), user("Why?")], [[], [0, 1], [0, 1]]),
        ([user("Hi"), answer("Hello."), user("Who?")], [[], []]),
    ],
)
def test_a_question_without_images_is_about_those_shown_last(messages, about):
    asked, found = parsed(*messages)
    assert found == about
    views = asked.views
    prompt = XCOMPOSER2_CHAT.build_prompt("", asked.turns, asked.question, views[0] if views else None, views[1:])
    *before, (own, *more) = _own(messages)
    plain = [
        Turn(turn.question, turn.answer, view, tuple(rest)) for turn, (view, *rest) in zip(asked.turns, before, strict=True)
    ]
    assert prompt == XCOMPOSER2_CHAT.build_prompt("", plain, asked.question, own, tuple(more)), "their place stays the same"


def _own(messages: list[dict]) -> list[list[ImageView | None]]:
    """What each question brought along itself, as views; [None] for nothing."""
    source, rows = RequestParser(ImageLimits(), ImageSource(10**6), 64), []
    for message in messages:
        if message["role"] == "user":
            asked, _ = source.parse({"model": "m", "messages": [message]}, BUDGET)
            rows.append(list(asked.views) or [None])
    return rows


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[httpx.AsyncClient]:
    """Of a model that looks at one image at a time."""
    engine = load_engine(Settings(model=str(write_chat_checkpoint(tmp_path_factory.mktemp("one"), sees_one_image=True))))
    provider = EngineProvider(Settings(), lambda *_: engine)
    provider.start()
    assert provider.wait(30)
    services = Services(Settings(), provider, SessionStore(), WaitingLine(4))
    app = Starlette(routes=openai_routes(Answering(services)))
    yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app", timeout=60)
    engine.close()


def ask(client: httpx.AsyncClient, *messages: dict, **more: object) -> httpx.Response:
    body = {"model": "ixc-nano", "messages": list(messages), "max_tokens": 6, "temperature": 0, "max_patches": BUDGET, **more}
    return run_apart(client.post("/v1/chat/completions", json=body))


def test_of_several_images_it_is_told_of_the_one_shown_last(client):
    both = ask(client, user("What?", WIDE), answer("A."), user("And?", WIDER), answer("B."), user("Why?")).json()
    alone = ask(client, user("And?", WIDER), answer("B."), user("Why?")).json()
    assert both["choices"] == alone["choices"]
    assert both["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]
    tokens = plan_tiles(SizePx(90, 500), BUDGET).num_visual_tokens
    assert both["usage"]["prompt_tokens_details"]["image_tokens"] == tokens


@pytest.mark.parametrize("streams", [True, False])
def test_several_images_in_one_question_are_refused_in_a_sentence(client, streams):
    refused = ask(client, user("Which?", WIDE, WIDER), stream=streams)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "This model looks at one image at a time; send one image with each question."
    assert refused.json()["error"]["code"] == "invalid_image"
    later = ask(client, user("Which?", WIDE, WIDER), answer("A."), user("Why?"))  # is about both
    assert later.status_code == 400


def test_callers_can_know_before_they_ask(client):
    facts = run_apart(client.get("/v1/models")).json()["data"][0]["ixc"]
    assert facts["sees_one_image"] is True
    assert facts["max_context_tokens"] > 2000
