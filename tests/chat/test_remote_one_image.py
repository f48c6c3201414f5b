"""A server elsewhere: what this app learns of its model, and what a model that looks at one image at a time is sent."""

from __future__ import annotations

import json

import httpx2
import numpy as np
import pytest

from ixc.chat.remote import RemoteEngine, read_info
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView, Turn
from ixc.imaging.decode import DecodedImage
from ixc.settings import Settings

SETTINGS = Settings(backend="http://elsewhere")
CAT, DOG = (DecodedImage.from_pixels(np.full((20, 30, 3), value, np.uint8)) for value in (1, 2))


class Elsewhere:
    """A server that lists ``model`` and keeps what it is asked."""

    def __init__(self, model: dict) -> None:
        self.asked: list[dict] = []
        self._model = model
        self.client = httpx2.Client(transport=httpx2.MockTransport(self._meet), base_url="http://elsewhere/v1")

    def _meet(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(200, json={"data": [self._model]})
        self.asked.append(json.loads(request.read()))
        chunk = {"choices": [{"index": 0, "delta": {"content": "Well."}, "finish_reason": "stop"}]}
        return httpx2.Response(200, text=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"id": "x", "ixc": {"sees_one_image": True, "max_context_tokens": 12288}}, (True, 12288)),
        ({"id": "ixc-nano", "ixc": {"sees_one_image": False}}, (False, None)),  # it must know
        ({"id": "ixc-nano", "max_model_len": 4096}, (True, 4096)),  # as vLLM serves it
        ({"id": "4khd-7b"}, (False, None)),
        ({"id": "gpt", "max_model_len": "long"}, (False, None)),
    ],
)
def test_what_a_server_says_of_its_model_is_known(model, expected):
    info = read_info(Elsewhere(model).client, SETTINGS)
    assert (info.sees_one_image, info.max_context_tokens) == expected


@pytest.mark.parametrize(("sees_one_image", "num_messages", "num_images"), [(True, 1, 1), (False, 5, 2)])
def test_a_model_that_looks_at_one_image_at_a_time_is_sent_one(sees_one_image, num_messages, num_images):
    server = Elsewhere({"id": "x", "ixc": {"sees_one_image": sees_one_image}})
    engine = RemoteEngine(server.client, read_info(server.client, SETTINGS), SETTINGS)
    turns = (Turn("Hi", "Hello."), Turn("What?", "A cat.", ImageView(CAT.image_id, 4)))
    images = {image.image_id: image for image in (CAT, DOG)}
    list(engine.answer(ChatRequest("a", "And this?", ImageView(DOG.image_id, 4), turns, images), StopFlag()))
    engine.close()
    (body,) = server.asked
    assert len(body["messages"]) == num_messages
    assert json.dumps(body).count('"type": "image_url"') == num_images
