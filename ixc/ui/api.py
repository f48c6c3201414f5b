"""The named endpoints ``/plan`` and ``/chat`` for gradio_client and other programs. They keep nothing after a call."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ixc.application.answering import answer_events
from ixc.application.event_pump import EventPump
from ixc.application.fair_threads import FairThreads, Shares
from ixc.application.services import Services
from ixc.application.waiting import page_caller
from ixc.chat.events import Event, TextDelta
from ixc.chat.interface import ChatEngine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView, Turn
from ixc.errors import EmptyQuestion, SettingsError, UploadFailed
from ixc.imaging.decode import DecodedImage, decode_image
from ixc.plan_facts import plan_facts
from ixc.ui.api_errors import api_error
from ixc.ui.components import ImageUpload, check_budget

_PLANNERS = Shares(num_threads=4, threads_each=2, waiting=24, waiting_each=8)
"""Under way and waiting together they leave room among Gradio's threads for as many questions as the line has places."""


def add_api(services: Services) -> None:
    """Register the endpoints in the Blocks being built."""
    calls = ApiHandlers(services)
    limits = services.settings.images
    with gr.Column(visible=False):
        image = ImageUpload(limits, label="image")
        max_patches = gr.Number(None, label="max_patches")
        facts = gr.JSON(label="plan")
        plan = gr.Button()
        plan.click(calls.plan, [image, max_patches], facts, api_name="plan", concurrency_limit=None)

        question = gr.Textbox(label="question")
        numbers = [
            gr.Number(None, label=name)
            for name in ("max_new_tokens", "temperature", "top_p", "repetition_penalty", "num_beams", "seed")
        ]
        system = gr.Textbox(None, label="system")
        history = gr.JSON(None, label="history")
        answer = gr.Textbox(label="answer")
        chat = gr.Button()
        inputs = [question, image, max_patches, *numbers, system, history]
        chat.click(calls.chat, inputs, answer, api_name="chat", concurrency_limit=None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call of ``/chat`` whose arguments were looked at."""

    question: str
    image: Path | None
    budget: int | None
    """None: that of the model that answers."""
    given: dict[str, float]
    """Generation settings that were named."""
    system: str | None
    pairs: tuple[tuple[str, str], ...]
    caller: str | None
    """Who shares the places in the line."""


class ApiHandlers:
    """The calls. Every error reaches the caller as one sentence."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._planners = FairThreads(_PLANNERS, "ixc-api-plans")

    async def plan(self, request: gr.Request, image: Path | None, max_patches: float | None = None) -> dict[str, Any]:
        """How the app's model cuts ``image`` under a budget of ``max_patches`` tiles; the same data as ``ixc plan --json``.

        A model that looks once has no budget: "layout" in the answer says which kind it is.
        """
        try:
            return await self._planners.run(_sharer(request), self._plan, image, max_patches)
        except Exception as error:
            _delete(image)  # where it never was its turn
            raise api_error(error) from error

    def _plan(self, image: Path | None, max_patches: float | None) -> dict[str, Any]:
        try:
            budget = self._budget(max_patches)
            decoded = self._decode(image)
            if decoded is None:
                raise UploadFailed("An image is needed; upload one.")
            plan = self._services.provider.layout.plan(decoded.size_px, budget)
            return plan_facts(plan, max_patches_limit=self._services.settings.max_patches_limit)
        finally:
            _delete(image)

    async def chat(
        self,
        request: gr.Request,
        question: str,
        image: Path | None = None,
        max_patches: float | None = None,
        max_new_tokens: float | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        num_beams: float | None = None,
        seed: float | None = None,
        system: str | None = None,
        history: list[list[str]] | None = None,
    ) -> AsyncIterator[str]:
        """Answer ``question`` about ``image`` (or none). Streams the answer so far; settings left out are the model's own.

        ``history`` holds earlier [question, answer] pairs about the same image. Cancelling the job stops the model.
        """
        settings = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "repetition_penalty": repetition_penalty,
            "num_beams": num_beams,
            "seed": seed,
        }
        try:
            if not question or not question.strip():
                raise EmptyQuestion("Type a question first.")
            budget = None if max_patches is None else self._budget(max_patches)
            given = {name: value for name, value in settings.items() if value is not None}
            caller = page_caller(request.username, getattr(request.client, "host", ""))
            asked = _Asked(question, image, budget, given, system, _pairs(history), caller)
            stop, text = StopFlag(), ""
            async for event in EventPump(lambda: self._events(asked, stop), stop).events():
                if isinstance(event, TextDelta):
                    text += event.text
                    yield text
            if not text:
                yield text
        except Exception as error:
            _delete(image)
            raise api_error(error) from error

    def _events(self, asked: _Asked, stop: StopFlag) -> Iterator[Event]:
        """The answer's events. The image is decoded when it is the question's turn: twenty that wait hold no pixels."""
        session = f"api-{uuid.uuid4().hex}"

        def build_request(engine: ChatEngine) -> ChatRequest:
            decoded = self._decode(asked.image)
            budget = engine.default_max_patches if asked.budget is None else asked.budget
            view = ImageView(decoded.image_id, budget) if decoded else None
            return ChatRequest(
                session_id=session,
                question=asked.question,
                view=view,
                turns=tuple(Turn(question, answer, view) for question, answer in asked.pairs),
                images={decoded.image_id: decoded} if decoded else {},
                system=engine.default_system if asked.system is None else asked.system,
                generation=engine.default_generation.with_given(asked.given),
            )

        try:
            with self._services.line.enter(asked.caller) as ticket:
                yield from answer_events(self._services, ticket, stop, build_request)
        finally:
            if (engine := self._services.provider.engine) is not None:
                engine.forget(session)
            _delete(asked.image)

    def _budget(self, max_patches: float | None) -> int:
        budget = self._services.default_max_patches if max_patches is None else max_patches
        return check_budget(budget, self._services.settings.max_patches_limit)

    def _decode(self, image: Path | None) -> DecodedImage | None:
        return None if image is None else decode_image(image, self._services.settings.images)


def _sharer(request: gr.Request) -> str:
    """Who takes turns with others: a user who gave a password, or a network."""
    return page_caller(request.username, getattr(request.client, "host", "")) or request.username or ""


def _delete(upload: Path | None) -> None:
    """Nothing of a call stays."""
    if upload is not None:
        upload.unlink(missing_ok=True)


def _pairs(history: Any) -> tuple[tuple[str, str], ...]:
    """Raises SettingsError unless ``history`` is a list of pairs of texts."""
    pairs = history or []
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in pairs
    ):
        raise SettingsError("The history must be a list of [question, answer] pairs.")
    return tuple((question, answer) for question, answer in pairs)
