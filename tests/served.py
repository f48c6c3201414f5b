"""An ASGI app on a real server, in a thread of the test's own process."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any

import uvicorn

STOPS_WITHIN_S = 20


class Server:
    """Serves ``app`` on ``port``, or on one that is free, from its construction until it is stopped. A context manager.

    ``options`` are uvicorn's.
    """

    def __init__(self, app: Any, port: int = 0, **options: Any) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))  # who calls before the thread serves waits here
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as uvicorn's own listeners have it
        self.address: tuple[str, int] = self._listener.getsockname()
        self.port = self.address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(uvicorn.Config(app, **{"log_level": "critical", **options}))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(STOPS_WITHIN_S)
        self._listener.close()
