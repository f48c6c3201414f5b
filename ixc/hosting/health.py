"""GET /health: may this server be sent questions? For load balancers, containers and supervisors."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ixc.application.services import Services

_NO_STORE = {"Cache-Control": "no-store"}


def health_routes(services: Services) -> list[Route]:
    """``/health``: 200 once the model answers; 503 while it loads, after it failed, while its server is lost or the app stops.

    ``/health/live``: 200 as long as no restart would help; 503 once the GPU has failed for good.
    """

    def ready(_: Request) -> JSONResponse:
        phase = "stopping" if services.traffic.is_stopping else services.provider.status.phase
        return JSONResponse({"status": phase}, status_code=200 if phase == "ready" else 503, headers=_NO_STORE)

    def live(_: Request) -> JSONResponse:
        engine = services.provider.engine
        has_failed = engine is not None and engine.failure is not None
        status = "failed" if has_failed else "live"
        return JSONResponse({"status": status}, status_code=503 if has_failed else 200, headers=_NO_STORE)

    return [Route("/health", ready, methods=["GET"]), Route("/health/live", live, methods=["GET"])]
