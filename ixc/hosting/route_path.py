"""Where a request goes, as the routes see it."""

from __future__ import annotations

from starlette.routing import get_route_path
from starlette.types import Scope


def route_path(scope: Scope) -> str:
    """The path below ``GRADIO_ROOT_PATH``, whether or not the server in front takes that away.

    Told by the routes' own function, so that nothing is checked as one path and served as another. FastAPI notes the root path
    before any middleware runs.
    """
    return get_route_path(scope)
