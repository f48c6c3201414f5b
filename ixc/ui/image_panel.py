"""The left half: an image comes in, and its plan follows the slider."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ixc.application.messages import Message, message_for
from ixc.application.services import Services
from ixc.application.session import HeldImage
from ixc.chat.interface import PromptPreview
from ixc.chat.request import ChatRequest
from ixc.conversation import ImageView
from ixc.errors import ImageError, IxcError, UploadFailed
from ixc.imaging.decode import decode_image
from ixc.imaging.large_work import MAX_WAITING
from ixc.single_view import ImagePlan
from ixc.ui.components import Budget, ImageUpload, Widget
from ixc.ui.examples import Example, example_of_page_key, load_examples
from ixc.ui.pictures import picture_address
from ixc.ui.plan_view import page_key, plan_page_value
from ixc.ui.transcript import Conversation

_answer_numbers = itertools.count(1)
"""Makes two equal answers differ, so that the page notices the second (the same error twice, for instance)."""


_NUM_OPENERS = 2 * MAX_WAITING
"""Threads for uploads alone: those that wait for their turn take none from Stop and the slider. More than may wait."""


@dataclass(frozen=True, slots=True)
class ImagePanel:
    """The panel's components that others listen to or fill."""

    upload: ImageUpload
    stage: Widget
    examples: Widget
    budget: Budget
    plan: Widget


def layout_image_panel(services: Services) -> ImagePanel:
    settings = services.settings
    return ImagePanel(
        upload=ImageUpload(settings.images, elem_id="ixc-upload"),
        stage=Widget("stage", {"image": None, "error": None, "number": 0}, events=("remove", "reopen"), elem_id="ixc-stage"),
        examples=Widget("examples", [], events=("pick",), elem_id="ixc-examples"),
        budget=Budget(settings.max_patches_limit, value=services.default_max_patches, elem_id="ixc-budget"),
        plan=_layout_plan(),
    )


def _layout_plan() -> Widget:
    """The two perspectives stand above the ribbon; they are drawn from the same plan, and shown only where a model has them."""
    Widget("dual", None, elem_id="ixc-dual")
    return Widget("plan", None, elem_id="ixc-plan")


def connect_image_panel(panel: ImagePanel, talk: list[gr.components.Component], services: Services) -> None:
    """Attach the handlers. None of them waits in the queue, so a long answer never holds the plan up.

    ``talk`` are the conversation's state and the system prompt: the numbers are those of the next question.
    """
    handlers = ImageHandlers(services)
    shared: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    shown = [panel.stage, panel.plan]
    # The page opens one image at a time and waits for its answer, so none may be dropped here.
    opening: dict[str, Any] = {"trigger_mode": "multiple", **shared}
    opened = (
        panel.upload.upload(handlers.open_upload, [panel.upload, panel.budget, *talk], shown, **opening),
        panel.examples.pick(handlers.open_example, [panel.budget, *talk], [*shown, panel.budget], **opening),
        panel.stage.reopen(handlers.reopen, [panel.budget, *talk], [*shown, panel.budget], **opening),
    )
    slider: dict[str, Any] = {"trigger_mode": "always_last", **shared}
    panel.budget.input(handlers.follow_slider, [panel.budget, panel.stage, *talk], shown, **slider)
    panel.stage.remove(handlers.remove, None, shown, **shared)
    for each in opened:  # of one that never reached a handler, the page hears here
        each.failure(None, js="() => ixc.imageAnswered()", api_visibility="private")


class ImageHandlers:
    """Functions of (session, input). Errors become a message in the stage; the image shown before stays.

    ``talk`` is the conversation, as Gradio holds it, and the system prompt.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._openers = ThreadPoolExecutor(_NUM_OPENERS, "ixc-uploads")

    async def open_upload(self, path: Path | None, budget: int, request: gr.Request, *talk: Any) -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._openers, self._open_upload, path, budget, request, *talk)

    def _open_upload(self, path: Path | None, budget: int, request: gr.Request, *talk: Any) -> tuple[Any, Any]:
        def put() -> HeldImage:
            if path is None:
                raise UploadFailed("The file did not arrive; upload it again.")
            try:
                image = decode_image(path, self._services.settings.images)
            finally:
                path.unlink(missing_ok=True)  # the decoded image is all that is kept
            return self._services.store.put_image(session_id(request), image)

        return self._answer(put, budget, request, talk)

    def open_example(self, budget: int, event: gr.EventData, request: gr.Request, *talk: Any) -> tuple[Any, Any, Any]:
        examples = load_examples()
        index, language = event_value(event, "index", int, 0), event_value(event, "language", str, "en")
        if not 0 <= index < len(examples):
            return (*self._answer(_no_such_example, budget, request, talk), gr.skip())
        example = examples[index]
        example_budget = min(example.max_patches, self._services.settings.max_patches_limit)

        def put() -> HeldImage:
            return self._put_example(session_id(request), example)

        question = example.question(language, self._services.provider.status.name)
        return (*self._answer(put, example_budget, request, talk, question), example_budget)

    def reopen(self, budget: int, event: gr.EventData, request: gr.Request, *talk: Any) -> tuple[Any, Any, Any]:
        """An image of the conversation, by the page's name for it, at the budget that the page says.

        An example is opened anew where the session no longer holds it: the page was loaded again.
        """
        key = event_value(event, "image", str, "")
        wanted = min(max(event_value(event, "budget", int, budget), 1), self._services.settings.max_patches_limit)

        def put() -> HeldImage:
            session = session_id(request)
            own = [image for image_id, image in self._services.store.images(session).items() if page_key(image_id) == key]
            if own:
                return self._services.store.put_image(session, own[0])
            if (example := example_of_page_key(key)) is None:
                raise image_gone()
            return self._put_example(session, example)

        stage, plan = self._answer(put, wanted, request, talk)
        return stage, plan, gr.skip() if stage["error"] else wanted

    def _put_example(self, session: str, example: Example) -> HeldImage:
        return self._services.store.put_image(session, decode_image(example.path, self._services.settings.images))

    def follow_slider(self, budget: int, stage: Any, request: gr.Request, *talk: Any) -> tuple[Any, Any]:
        """The new plan, and its picture where the page shows another.

        An image that is no longer held leaves the page, which says why.
        """
        held = self._services.store.current(session_id(request))
        if held is not None:
            shown = stage.get("image") if isinstance(stage, dict) else None
            is_shown = isinstance(shown, dict) and shown.get("id") == page_id(held)
            return gr.skip() if is_shown else stage_value(held), self.plan_value(held, budget, request, talk)
        if shows_image(stage):
            return stage_value(None, message_for(image_gone())), None
        return gr.skip(), gr.skip()

    def replan(self, budget: int, request: gr.Request, *talk: Any) -> Any:
        held = self._services.store.current(session_id(request))
        return gr.skip() if held is None else self.plan_value(held, budget, request, talk)

    def remove(self, request: gr.Request) -> tuple[Any, Any]:
        self._services.store.clear_current(session_id(request))
        if self._services.read_ahead is not None:
            self._services.read_ahead.forget(session_id(request))
        return stage_value(None), None

    def plan_value(self, held: HeldImage, budget: int, request: gr.Request, talk: Sequence[Any]) -> dict[str, Any]:
        """The plan, and what it was made for: the page asks again where it shows something else by then."""
        services = self._services
        engine, status = services.provider.engine, services.provider.status
        plan = status.layout.plan(held.image.size_px, budget)
        limit = services.settings.max_patches_limit
        prompt, reads_ahead = PromptPreview(), False
        if engine is not None:
            next_request = self._next_request(held, plan, request, talk)
            prompt, reads_ahead = engine.preview(next_request), engine.reads_ahead and services.read_ahead is not None
            if reads_ahead:
                services.read_ahead.soon(next_request)
        value = plan_page_value(plan, held.image.image_id, limit, prompt, engine)
        return {**value, "readsAhead": reads_ahead, "askedFor": {"budget": budget, "model": status.key}}

    def _next_request(self, held: HeldImage, plan: ImagePlan, request: gr.Request, talk: Sequence[Any]) -> ChatRequest:
        """The next question before it has words. Without ``talk`` it is the first one."""
        conversation, system = talk or (None, "")
        session, image = session_id(request), held.image
        images = {**self._services.store.images(session), image.image_id: image}
        turns = (conversation or Conversation()).turns(images)
        return ChatRequest(session, "", ImageView(image.image_id, plan.max_patches), turns, images, system or "")

    def _answer(
        self, put: Callable[[], HeldImage], budget: int, request: gr.Request, talk: Sequence[Any], question: str = ""
    ) -> tuple[Any, Any]:
        try:
            held = put()
        except Exception as error:  # noqa: BLE001  whatever a file does, the page shows a sentence
            return stage_value(self._services.store.current(session_id(request)), message_for(error)), gr.skip()
        return stage_value(held, question=question), self.plan_value(held, budget, request, talk)


def page_id(held: HeldImage) -> str:
    """What the page calls an image."""
    return page_key(held.image.image_id)


def stage_value(held: HeldImage | None, error: Message | None = None, question: str = "") -> dict[str, Any]:
    """The picture's address and size, what went wrong if something did, and a question worth asking about it."""
    image = None
    if held is not None:
        size_px = held.image.size_px
        image = {
            "id": page_id(held),
            "src": picture_address(held.token),
            "width": size_px.width,
            "height": size_px.height,
        }
    number = next(_answer_numbers)
    return {"image": image, "error": error.page_value() if error else None, "question": question, "number": number}


def shows_image(stage: Any) -> bool:
    """Whether the page shows an image, by the stage's value as the page sent it."""
    return isinstance(stage, dict) and bool(stage.get("image"))


class ImageGone(ImageError):
    """The page shows an image that the store has freed: the connection broke meanwhile, or others needed the room."""


class NoSuchExample(IxcError):
    """The page offers an example that the app does not have."""


def image_gone() -> ImageGone:
    return ImageGone("The image is no longer held by the server; upload it again.")


def session_id(request: gr.Request) -> str:
    """Gradio's session hash; a caller without one gets a session of its own that nobody else can name."""
    return request.session_hash or f"none-{time.monotonic_ns()}"


def _no_such_example() -> HeldImage:
    raise NoSuchExample("There is no such example; reload the page.")


def event_value(event: gr.EventData, name: str, kind: type, default: Any) -> Any:
    """A value that the page sent with an event. It may have been sent by anybody, so its type is checked."""
    data = event._data if isinstance(event._data, dict) else {}
    value = data.get(name)
    return value if isinstance(value, kind) and not isinstance(value, bool) else default
