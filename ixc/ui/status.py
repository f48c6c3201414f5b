"""GET /status: how the app is, in numbers, for those who run it. It tells nothing about anybody's images or words."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ixc.application.services import Services


def status_route(services: Services) -> Route:
    def serve(_: Request) -> JSONResponse:
        engine = services.provider.engine
        return JSONResponse(
            {
                "model": services.provider.status.phase,
                "sessions": services.store.report(),
                "in_line": services.line.num_inside,
                "engine": engine.memory_report() if engine else {},
            },
            headers={"Cache-Control": "no-store"},
        )

    return Route("/status", serve, methods=["GET"])
