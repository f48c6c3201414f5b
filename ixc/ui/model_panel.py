"""The model's chip and choice: they follow it while it loads, put another in its place, and refresh what depends on it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gradio as gr

from ixc.application.model_choice import offered_models
from ixc.application.services import Services
from ixc.application.strings import DEFAULT_LANGUAGE
from ixc.errors import IxcError
from ixc.ui.chat_panel import ChatPanel
from ixc.ui.components import Widget
from ixc.ui.examples import example_page_values, is_small
from ixc.ui.image_panel import ImageHandlers, ImagePanel, session_id
from ixc.ui.settings_panel import defaults_update

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_WITH_LANGUAGE = "{ ...header, language: ixc.language }"
"""The status that the page shows, and the language in which it does."""
WITH_LANGUAGE = f"(header, ...others) => [{_WITH_LANGUAGE}, ...others]"
"""For an event whose first input is the header."""
_CHOOSING = f"(model, header, ...others) => [model, {_WITH_LANGUAGE}, ...others]"


def layout_header(services: Services) -> Widget:
    return Widget("header", _model_value(services), events=("language", "refresh"), elem_id="ixc-header")


def _model_value(services: Services) -> dict[str, object]:
    """The model's status, its own budget, whether it is small, is told of one image at a time, and of how many one chooses."""
    engine, status = services.provider.engine, services.provider.status
    sees_one_image = engine is not None and engine.info.sees_one_image
    more = {
        "budget": services.default_max_patches,
        "small": is_small(status.name),
        "oneImage": sees_one_image,
        "choices": len(offered_models(services.settings)),
    }
    return {**status.page_value(), **more}


def connect_model(demo: gr.Blocks, header: Widget, image: ImagePanel, chat: ChatPanel, services: Services) -> None:
    """Attach the handlers. Call inside the Blocks."""
    timer = gr.Timer(_LOOK_EVERY_S)
    handlers = ModelHandlers(services, len(chat.settings.inputs))
    hidden: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    inputs, outputs = (
        [header, image.budget, chat.conversation, *chat.settings.inputs],
        [header, timer, image.plan, chat.settings.model, *chat.settings.inputs],
    )
    demo.load(handlers.load, inputs, [image.examples, *outputs], js=WITH_LANGUAGE, **hidden)
    timer.tick(handlers.look, inputs, outputs, js=WITH_LANGUAGE, trigger_mode="once", **hidden)
    header.refresh(handlers.look, inputs, outputs, js=WITH_LANGUAGE, trigger_mode="once", **hidden)
    choice = chat.settings.model
    choice.input(handlers.switch, [choice, *inputs], outputs, js=_CHOOSING, trigger_mode="once", **hidden)


class ModelHandlers:
    """Functions of (session, input); all return chip, clock, plan, the choice and the answers' settings."""

    def __init__(self, services: Services, num_settings: int) -> None:
        self._services = services
        self._images = ImageHandlers(services)
        self._num_settings = num_settings

    def load(self, request: gr.Request, known: Any, budget: int, conversation: Any, *settings: Any) -> list[Any]:
        """A page was opened: the examples come first."""
        known = {"language": page_language(known)}
        return [list(example_page_values()), *self.look(request, known, budget, conversation, *settings)]

    def look(self, request: gr.Request, known: Any, budget: int, conversation: Any, *settings: Any) -> list[Any]:
        """How far the model is. Once it is there, or there again, its defaults fill the settings and its costs the plan.

        ``known`` is the status that the page shows, with its language. Of a model that it knows to be ready the settings are
        the user's.
        """
        status, skipped = self._services.provider.status, [gr.skip()] * self._num_settings
        if status.phase in ("loading", "away"):
            return [_model_value(self._services), gr.Timer(active=True), gr.skip(), gr.skip(), *skipped]
        shown = self._all(request, page_language(known), budget, conversation, settings, is_loading=False)
        is_known = isinstance(known, dict) and (known.get("phase"), known.get("key")) == ("ready", status.key)
        return [*shown[: -self._num_settings], *skipped] if is_known else shown

    def switch(self, request: gr.Request, model: Any, known: Any, budget: int, conversation: Any, *settings: Any) -> list[Any]:
        """Another model was chosen. When it takes the place the session's own answer is stopped; others are finished first."""
        services = self._services
        if model in {offered.key for offered in offered_models(services.settings)}:
            try:
                services.provider.switch(model)
            except IxcError as error:  # the choice goes back to the model that is there, and the chip says what is going on
                logger.info("no switch: %s", error)
            else:
                if services.provider.status.phase == "loading":  # while it is only downloaded, the old one goes on answering
                    services.store.stop(session_id(request))
        is_loading = services.provider.status.phase in ("loading", "away")
        return self._all(request, page_language(known), budget, conversation, settings, is_loading=is_loading)

    def _all(
        self,
        request: gr.Request,
        language: str,
        budget: int,
        conversation: Any,
        settings: Sequence[Any],
        *,
        is_loading: bool,
    ) -> list[Any]:
        update = defaults_update(self._services.provider, settings, language)
        system = update[-1] if isinstance(update[-1], str) else settings[-1]  # else the page's stays
        plan = self._images.replan(budget, request, conversation, system)
        return [_model_value(self._services), gr.Timer(active=is_loading), plan, *update]


def page_language(known: Any) -> str:
    """The page's language; the default one where a program asks, which has none."""
    language = known.get("language") if isinstance(known, dict) else None
    return language if isinstance(language, str) else DEFAULT_LANGUAGE
