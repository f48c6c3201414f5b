"""Everything the server answers besides the page: one list, so that a new face of the app is one more line."""

from __future__ import annotations

from starlette.routing import BaseRoute

from ixc.application.services import Services
from ixc.serving.answers import Answering
from ixc.serving.mcp_tools import mcp_route
from ixc.serving.openai_routes import openai_routes


def hosted_routes(services: Services, *, need_key: bool) -> list[BaseRoute]:
    """Routes beside the page's own. They come before Gradio's, and Gradio's login does not guard them.

    ``need_key``: whether something else asks for a key or a password before them.
    """
    answering = Answering(services)
    return [*openai_routes(answering), mcp_route(answering, needs_key=need_key)]
