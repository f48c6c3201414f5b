"""The one address: an ASGI app with its health, and the process that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from ixc.errors import SettingsError
from ixc.hosting.body_limits import BodyLimits, BodyRules
from ixc.hosting.connections import bound_connections
from ixc.hosting.early_answers import EarlyAnswers
from ixc.hosting.replicas.pool import ReplicaPool
from ixc.hosting.replicas.proxy import ReplicaProxy
from ixc.settings import MAX_PORT, ImageLimits

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 2.0
_CONNECT_S = 5.0
SILENCE_S = 300.0
"""Between two pieces of an answer: a long prefill sends nothing."""
_GRACE_S = 5


def replica_app(
    addresses: Sequence[str], limits: ImageLimits, check_every_s: float = CHECK_EVERY_S, silence_s: float = SILENCE_S
) -> Starlette:
    """``/v1/`` goes to one of ``addresses``; ``/health`` is 200 while at least one of them answers.

    Raises SettingsError for an unusable address.
    """
    client = httpx2.AsyncClient(
        timeout=httpx2.Timeout(silence_s, connect=_CONNECT_S),
        # No limit here: each server has its own line. A connection that was closed to stop an answer is not used again.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one caller's are nothing for the next, nor for a check
    )
    pool, rules = ReplicaPool(addresses, client), BodyRules.of(limits)

    @contextlib.asynccontextmanager
    async def watched(_: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(pool.watch(check_every_s))
        yield
        watching.cancel()
        await client.aclose()

    def health(_: Request) -> JSONResponse:
        report = pool.report()
        is_up = "up" in report.values()
        body = {"status": "ready" if is_up else "failed", "replicas": report}
        return JSONResponse(body, 200 if is_up else 503, {"Cache-Control": "no-store"})

    return Starlette(
        routes=[Route("/health", health, methods=["GET"]), Mount("/v1", ReplicaProxy(pool, client))],
        middleware=[Middleware(EarlyAnswers, limits=rules.linger), Middleware(BodyLimits, rules=rules)],
        lifespan=watched,
    )


def serve_replicas(addresses: Sequence[str], host: str, port: int, limits: ImageLimits) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises SettingsError when an address, or this one's own, cannot be used."""
    if not 0 <= port <= MAX_PORT:
        raise SettingsError(f"The port (--port) must be between 0 and {MAX_PORT}, not {port}.")
    bound_connections()
    app = replica_app(addresses, limits)
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise SettingsError(
            f"The address {host}:{port} cannot be used ({reason}); choose another with --host and --port."
        ) from None
    # asyncio sets this only for sockets it made itself; without it the end of every answer waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_S, server_header=False)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # uvicorn ends in order and then raises the signal again; the end was not an error. Until it listens, this ends the process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logger.info("%d servers are behind http://%s:%d", len(addresses), host, port)
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
