"""What a client finds below ``/v1`` where nothing is: an error in the shape that it shows, not a page's."""

from __future__ import annotations

import openai
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from ixc.serving.answers import Answering
from ixc.serving.openai_routes import openai_routes
from tests.two_models import two_models


@pytest.fixture
def client() -> TestClient:
    """With a page behind, as Gradio's, that takes every address."""
    page = Route("/{path:path}", lambda _: None, methods=["GET", "POST"])
    return TestClient(Starlette(routes=[*openai_routes(Answering(two_models())), page]))


@pytest.mark.parametrize(
    ("method", "path", "status", "message", "code"),
    [
        ("POST", "/v1/responses", 404, "There is no /v1/responses here; ask /v1/chat/completions.", "unknown_url"),
        ("DELETE", "/v1/files/a", 404, "There is no /v1/files/a here; ask /v1/chat/completions.", "unknown_url"),
        ("GET", "/v1/", 404, "There is no /v1/ here; ask /v1/chat/completions.", "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "/v1/chat/completions takes POST, not GET.", "method_not_supported"),
        ("POST", "/v1/models", 405, "/v1/models takes GET, HEAD, not POST.", "method_not_supported"),
        ("DELETE", "/v1/models/a/b", 405, "/v1/models/a/b takes GET, HEAD, not DELETE.", "method_not_supported"),
    ],
)
def test_what_is_not_there_is_said_in_openais_shape(client, method, path, status, message, code):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json() == {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": code},
    }
    assert ("allow" in answer.headers) == (status == 405)


def test_a_long_address_is_not_repeated_whole(client):
    assert len(client.get("/v1/" + "x" * 5000).json()["error"]["message"]) < 200


def test_openais_client_shows_the_sentence(client):
    api = openai.OpenAI(base_url="http://testserver/v1", api_key="none", max_retries=0, http_client=client)
    with pytest.raises(openai.NotFoundError, match="ask /v1/chat/completions"):
        api.responses.create(model="x", input="Hi")
