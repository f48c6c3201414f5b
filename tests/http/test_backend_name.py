"""A page before another server: its API calls the model what that server calls it, whatever its own setting says."""

from __future__ import annotations

import openai
import pytest
from starlette.applications import Starlette

from ixc.application.services import Services
from ixc.serving.answers import Answering
from ixc.serving.openai_routes import openai_routes
from ixc.settings import Settings
from tests.http.flaky_server import Flaky, flaky_server
from tests.served import Server


def test_answers_bear_the_name_of_the_model_that_gave_them():
    with flaky_server() as port:
        Flaky.models, Flaky.kind = ("4khd-7b",), {"name": "InternLM-XComposer2-4KHD", "ixc": {"ready": True}}
        services = Services.start(Settings(backend=f"http://127.0.0.1:{port}"))
        assert services.provider.wait(30)
        app = Starlette(routes=openai_routes(Answering(services)))
        with Server(app) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["4khd-7b"]
            for name in ("4khd-7b", "InternLM-XComposer2-4KHD"):
                answer = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
                assert (answer.model, answer.choices[0].message.content) == (name, "All is well")
            with pytest.raises(openai.NotFoundError, match="only '4khd-7b'"):
                client.chat.completions.create(model="ixc-nano", messages=[{"role": "user", "content": "Hi"}])
