"""Questions of the page and of ``/chat`` that wait: who may, how many, and what becomes of them when the model is changed."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.errors import EngineBusy
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings, Settings
from ixc.ui.api import ApiHandlers
from ixc.ui.app import launch
from ixc.ui.chat_panel import ChatHandlers
from tests.event_loops import run_apart
from tests.two_models import LOOKUP_TOKENS, SINGLE, SYSTEMS, TILED, switch, two_models

STAGE = {"image": {"id": "0123456789abcdef"}}
BUDGET = 4


def visitor(session: str = "anna", address: str = "192.0.2.1", user: str | None = None) -> SimpleNamespace:
    """As Gradio tells who asks."""
    return SimpleNamespace(session_hash=session, username=user, client=SimpleNamespace(host=address))


def controls(**changed: Any) -> list[Any]:
    """The settings' controls as they stand for ``TILED``."""
    own = GenerationSettings()
    values = {
        "length": 100 + len(TILED.name),
        "temperature": own.temperature,
        "top_p": own.top_p,
        "repetition": own.repetition_penalty,
        "beams": own.num_beams,
        "seed": "",
        "system": SYSTEMS[TILED.name],
    }
    return list((values | changed).values())


@pytest.fixture
def services():
    return two_models()


@pytest.fixture
def image(services) -> DecodedImage:
    """600 x 300 pixels: under a budget of 4 one row of two tiles."""
    image = DecodedImage.from_pixels(np.full((300, 600, 3), 200, np.uint8))
    services.store.put_image("anna", image)
    return image


class Waiting:
    """A question of a page behind another one, which ends when the test wants."""

    def __init__(self, services, settings: list[Any]) -> None:
        self.ahead = services.line.enter()
        self.shown: list[dict[str, Any]] = []
        answer = ChatHandlers(services).ask(visitor(), "What?", None, None, STAGE, BUDGET, *settings)
        self.shown.append(next(answer)[0])
        self._thread = threading.Thread(target=lambda: self.shown.extend(shown for shown, _ in answer), daemon=True)
        self._thread.start()

    def end(self) -> dict[str, Any]:
        """The exchange, once the one ahead has gone."""
        self.ahead.leave()
        self._thread.join(30)
        return self.shown[-1]["exchanges"][-1]


def test_a_question_that_waits_through_a_switch_is_the_new_models_in_every_respect(services, image):
    waiting = Waiting(services, controls())
    assert waiting.shown[0]["live"]["model"] == TILED.title
    switch(services, SINGLE)
    exchange = waiting.end()
    (request,) = services.provider.engine.requests
    assert (exchange["model"], exchange["answer"]) == (SINGLE.title, SINGLE.title)
    assert exchange["view"]["kind"] == "single_view"
    assert request.view.max_patches == 1
    assert request.system == SYSTEMS[SINGLE.name]
    assert request.generation.max_new_tokens == 100 + len(SINGLE.name)
    assert waiting.shown[-2]["live"]["model"] == SINGLE.title


def test_what_the_user_has_set_stays_through_a_switch(services, image):
    waiting = Waiting(services, controls(system="Be brief.", length=50, seed="3"))
    switch(services, SINGLE)
    waiting.end()
    (request,) = services.provider.engine.requests
    assert (request.system, request.generation.max_new_tokens, request.generation.seed) == ("Be brief.", 50, 3)


def test_without_a_switch_everything_is_as_it_was_asked(services, image):
    exchange = Waiting(services, controls(system="")).end()
    (request,) = services.provider.engine.requests
    assert (exchange["model"], exchange["view"]["kind"], request.view.max_patches) == (TILED.title, "dynamic_partition", BUDGET)
    assert request.system == ""


def test_an_answer_bears_its_models_name_though_another_was_chosen_while_it_was_written(services, image):
    engine = services.provider.engine
    engine.may_speak.clear()
    waiting = Waiting(services, controls())
    waiting.ahead.leave()
    assert engine.is_asked.wait(10)
    services.provider.switch(SINGLE.name)  # which waits for this answer
    engine.may_speak.set()
    del engine
    exchange = waiting.end()
    assert (exchange["model"], exchange["answer"]) == (TILED.title, TILED.title)
    assert exchange["view"]["kind"] == "dynamic_partition"
    assert services.provider.wait(30)


def call(services, **arguments: Any) -> list[str]:
    """A call of ``/chat``."""

    async def all_parts() -> list[str]:
        asker = arguments.pop("request", visitor())
        return [part async for part in ApiHandlers(services).chat(asker, "What?", **arguments)]

    return run_apart(all_parts())


def test_a_call_that_names_no_budget_has_that_of_the_model_that_answers(services, tmp_path):
    path = tmp_path / "small.png"
    Image.new("RGB", (600, 300)).save(path)
    ahead, parts = services.line.enter(), []
    thread = threading.Thread(target=lambda: parts.extend(call(services, image=path)))
    thread.start()
    while services.line.num_inside < 2:
        assert thread.is_alive()
    switch(services, SINGLE)
    ahead.leave()
    thread.join(30)
    (request,) = services.provider.engine.requests
    assert (parts[-1], request.view.max_patches, request.system) == (SINGLE.title, 1, SYSTEMS[SINGLE.name])


def test_the_servers_prompt_lookup_holds_for_the_page_and_for_calls(services, image):
    Waiting(services, controls()).end()
    call(services, temperature=0.0)
    assert [request.generation.prompt_lookup_tokens for request in services.provider.engine.requests] == [LOOKUP_TOKENS] * 2


def ask_on_the_page(services, asker: SimpleNamespace) -> str:
    """The last thing that the page shows: an answer, or why there is none."""
    *_, (transcript, _) = ChatHandlers(services).ask(asker, "What?", None, None, {}, BUDGET, *controls())
    return transcript["error"]["detail"] if transcript["error"] else transcript["exchanges"][-1]["answer"]


def ask_by_a_call(services, asker: SimpleNamespace) -> str:
    try:
        return call(services, request=asker)[-1]
    except gr.Error as error:
        return str(error)


@pytest.mark.parametrize("ask", [ask_on_the_page, ask_by_a_call])
def test_one_network_does_not_take_every_place_in_the_line(ask):
    """Of four places three, besides the answer that is being written; a user with a password may take them all."""
    services, network, said = two_models(max_waiting=4), "192.0.2.1", queue.SimpleQueue()

    def begin(asker: SimpleNamespace) -> None:
        threading.Thread(target=lambda: said.put(ask(services, asker)), daemon=True).start()

    for address, user in ((network, "anna"), ("192.0.2.2", None)):
        places = [services.line.enter(network) for _ in range(4)]
        begin(visitor("a", network))
        assert "4 of your questions, or of your network, are under way" in said.get(timeout=10)
        begin(visitor("b", address, user))
        while services.line.num_inside < 5:
            assert said.empty(), said.get()
        for ticket in places:
            ticket.leave()
        assert said.get(timeout=10) == TILED.title


@pytest.mark.parametrize(("num_waiting", "settings"), [(20, {}), (200, {}), (5, {"backend": "http://127.0.0.1:9"})])
def test_questions_that_wait_leave_threads_to_stop_and_slider(num_waiting, settings):
    """Each of the page's questions holds one of Gradio's threads while it waits, and while it is answered."""
    settings = Settings(max_waiting=num_waiting, **settings)
    given: dict[str, Any] = {}
    line = WaitingLine(num_waiting, settings.backend_parallel if settings.backend else 1)
    services = Services(settings, EngineProvider(settings), SessionStore(), line)
    launch(SimpleNamespace(ixc_services=services, launch=lambda **kwargs: given.update(kwargs)))
    tickets = []
    with suppress(EngineBusy):
        while True:
            tickets.append(line.enter())
    assert given["max_threads"] >= len(tickets) + 40
