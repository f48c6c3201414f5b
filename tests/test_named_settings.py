"""What a question names of how it is answered means the same, by whatever way the question comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette

from ixc.application.services import Services
from ixc.cli import main
from ixc.serving.answers import Answering
from ixc.serving.openai_routes import openai_routes
from ixc.settings import GenerationSettings
from ixc.ui.api import ApiHandlers
from ixc.ui.chat_panel import ChatHandlers
from tests.event_loops import run_apart
from tests.two_models import TILED, two_models

GREEDY = GenerationSettings(do_sample=False)
SAMPLING = GenerationSettings(do_sample=True)
BEAMS = GenerationSettings(do_sample=False, num_beams=3)
VISITOR = SimpleNamespace(session_hash="anna", username=None, client=SimpleNamespace(host="192.0.2.1"))
OPTIONS = {"temperature": "--temperature", "top_p": "--top-p", "num_beams": "--beams"}


def by_chat(services: Services, named: Mapping[str, Any]) -> None:
    async def ask() -> None:
        async for _ in ApiHandlers(services).chat(VISITOR, "What?", **named):
            pass

    run_apart(ask())


def by_v1(services: Services, named: Mapping[str, Any]) -> None:
    app = Starlette(routes=openai_routes(Answering(services)))
    body = {"model": TILED.name, "messages": [{"role": "user", "content": "What?"}], **named}

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return await client.post("/v1/chat/completions", json=body)

    assert run_apart(ask()).status_code == 200


def by_command(services: Services, named: Mapping[str, Any]) -> None:
    options = [text for name, value in named.items() for text in (OPTIONS[name], str(value))]
    assert main(["ask", "image.png", "What?", "--quiet", *options]) == 0


@pytest.fixture
def services(monkeypatch, tmp_path: Path) -> Services:
    """Of a model that the command line loads as well."""
    there = two_models()
    monkeypatch.setattr("ixc.chat.loading.load_engine", lambda *_, **__: there.provider.engine)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30)).save("image.png")
    return there


def asked_with(services: Services, own: GenerationSettings, ask: Callable[[], None]) -> GenerationSettings:
    """The settings that reach a model whose own are ``own``."""
    engine = services.provider.engine
    engine.info = replace(engine.info, default_generation=own)
    ask()
    return engine.requests[-1].generation


@pytest.mark.parametrize("way", [by_chat, by_v1, by_command])
@pytest.mark.parametrize(
    ("own", "named", "samples", "num_beams"),
    [
        (GREEDY, {}, False, 1),
        (GREEDY, {"top_p": 0.5}, True, 1),
        (SAMPLING, {"num_beams": 3}, False, 3),
        (BEAMS, {"temperature": 0.5}, True, 1),
        (BEAMS, {"temperature": 0}, False, 3),
    ],
)
def test_a_question_samples_when_it_asks_to(services, way, own, named, samples, num_beams):
    generation = asked_with(services, own, lambda: way(services, named))
    assert (generation.do_sample, generation.num_beams) == (samples, num_beams)
    assert named.items() <= {name: getattr(generation, name) for name in OPTIONS}.items()


@pytest.mark.parametrize(
    ("temperature", "beams", "samples"), [(0.7, 1, True), (0, 1, False), (0.7, 3, False), (0, 3, False), (1e-6, 1, False)]
)
def test_the_page_names_everything(services, temperature, beams, samples):
    controls = [77, temperature, 0.5, 1.0, beams, "5", ""]
    generation = asked_with(
        services, BEAMS, lambda: list(ChatHandlers(services).ask(VISITOR, "What?", None, None, {}, 9, *controls))
    )
    assert generation == GenerationSettings(77, samples, temperature, 0.5, 1.0, beams, 5, generation.prompt_lookup_tokens)
