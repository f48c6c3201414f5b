"""The page as a whole: its frame, the two panels, and how it is served."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

# Before gradio is imported: it reads this once, and would otherwise call out at start.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from ixc.application.services import Services
from ixc.application.strings import load_strings, translate
from ixc.chat.heap import HeapTrimmer
from ixc.settings import Settings
from ixc.ui.api import add_api
from ixc.ui.assets import page_head
from ixc.ui.chat_panel import ChatPanel, connect_chat_panel, layout_chat_panel
from ixc.ui.compare import connect_compare, layout_compare
from ixc.ui.components import Widget
from ixc.ui.evidence import evidence_page_value
from ixc.ui.gradio_guard import forget_mailbox, keep_no_past_events, keep_users_apart, keep_words_to_users
from ixc.ui.image_panel import connect_image_panel, layout_image_panel
from ixc.ui.model_panel import WITH_LANGUAGE, connect_model, layout_header, page_language
from ixc.ui.pictures import ContentPolicy, picture_route
from ixc.ui.settings_panel import relabelled
from ixc.ui.status import status_route

_MAX_QUEUED = 128
"""Only a backstop against floods: the line before the model is the waiting line's, which refuses with a sentence. Each place
may hold a body of a megabyte."""
_MORE_THREADS = 40
"""For Stop, the slider and uploads, besides those of the page's questions: each holds one from the line to its last word."""
_MAX_GRADIO_SESSIONS = 256
"""Gradio keeps a closed page's small state for an hour; this bounds it."""
_SYSTEM_FONTS = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "sans-serif",
]


def build_app(settings: Settings, services: Services | None = None) -> gr.Blocks:
    """The page. ``services`` are started here unless given; the model then loads in the background."""
    services = services or Services.start(settings)
    trimmer = HeapTrimmer()
    services.traffic.listen(lambda _: trimmer.after_freeing())
    with gr.Blocks(title=translate("en", "app.title"), fill_width=True, analytics_enabled=False) as demo:
        with gr.Column(elem_id="ixc-page"):
            header = layout_header(services)
            Widget("panes", None, elem_id="ixc-panes")
            with gr.Row(elem_id="ixc-main"):
                with gr.Column(elem_id="ixc-image-pane"):
                    image = layout_image_panel(services)
                with gr.Column(elem_id="ixc-chat-pane"):
                    chat = layout_chat_panel(services)
            with gr.Column(elem_id="ixc-compare-pane"):
                compare = layout_compare(services)
            with gr.Column(elem_id="ixc-evidence-pane"):
                Widget("evidence", evidence_page_value(model=settings.model), elem_id="ixc-evidence")
        connect_image_panel(image, [chat.conversation, chat.settings.system], services)
        connect_chat_panel(chat, image, services)
        connect_compare(compare, services)
        connect_model(demo, header, image, chat, services)
        _connect_language(header, chat, services)
        demo.unload(_forget_session(services, trimmer))
        demo.unload(forget_mailbox(demo))
        add_api(services)
    demo.queue(max_size=_MAX_QUEUED, api_open=False)
    keep_users_apart(demo)
    keep_no_past_events(demo)
    keep_words_to_users(demo)
    demo.ixc_services = services
    return demo


def launch(
    demo: gr.Blocks,
    *,
    routes: Sequence[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
    share: bool = False,
    **kwargs: Any,
) -> Any:
    """Start the server for a page made by ``build_app``; ``kwargs`` go to Gradio's ``launch``.

    ``routes`` come before Gradio's own, ``middleware`` sees every request first.
    """
    services: Services = demo.ixc_services
    settings = services.settings
    _ask_itself_directly(settings.host)
    return demo.launch(
        server_name=f"[{settings.host}]" if ":" in settings.host else settings.host,
        server_port=settings.port or None,
        share=share,
        quiet=True,
        show_error=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        max_threads=services.line.num_places + _MORE_THREADS,
        state_session_capacity=_MAX_GRADIO_SESSIONS,
        max_file_size=settings.images.max_bytes,
        theme=_theme(),
        head=page_head(json.dumps(load_strings(), ensure_ascii=False)),
        app_kwargs={
            "routes": [picture_route(services.store), status_route(services), *routes],
            "middleware": [Middleware(ContentPolicy), *middleware],
        },
        **kwargs,
    )


def _ask_itself_directly(host: str) -> None:
    """Gradio asks its own server once, at start; a proxy that is set for the outside (``http_proxy``) would not find it."""
    for name in ("no_proxy", "NO_PROXY"):
        known = os.environ.get(name, "")
        os.environ[name] = ",".join([*filter(None, [known]), "localhost", "127.0.0.1", "::1", host])


def _connect_language(header: Widget, chat: ChatPanel, services: Services) -> None:
    """Gradio's own controls are labelled here; everything else is labelled by the page itself."""

    def relabel(known: Any) -> list[Any]:
        language = page_language(known)
        question = gr.Textbox(
            label=translate(language, "composer.label"), placeholder=translate(language, "composer.placeholder")
        )
        buttons = [gr.Button(translate(language, "composer.send")), gr.Button(translate(language, "composer.stop"))]
        return [question, *buttons, *relabelled(chat.settings, services.provider, language)]

    outputs = [chat.question, chat.send, chat.stop, *chat.settings.labelled.values()]
    hidden: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    header.language(relabel, [header], outputs, js=WITH_LANGUAGE, trigger_mode="always_last", **hidden)


def _forget_session(services: Services, trimmer: HeapTrimmer) -> Any:
    def forget(request: gr.Request) -> None:
        """The tab is gone. A running answer is stopped, and frees what it still puts back when it ends."""
        services.store.close(request.session_hash)
        if services.read_ahead is not None:
            services.read_ahead.forget(request.session_hash)
        if services.provider.engine is not None:
            services.provider.engine.forget(request.session_hash)
        trimmer.after_freeing()

    return forget


def _theme() -> gr.themes.Base:
    return gr.themes.Base(primary_hue="indigo", neutral_hue="gray", font=_SYSTEM_FONTS, font_mono=["ui-monospace", "monospace"])
