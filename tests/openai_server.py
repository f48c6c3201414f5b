"""A small OpenAI-compatible server that says a word when it is told to, and can be killed in the middle of one."""

from __future__ import annotations

import http.server
import json
import queue
import socket
import threading
from contextlib import suppress

END = None


class WordServer:
    """Listens on ``port`` of this machine (0: any free one) until ``kill``. Every answer consists of what ``say`` is given."""

    def __init__(self, port: int = 0) -> None:
        self._words: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._connections: set[socket.socket] = set()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _handler(self._words, self._connections))
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def say(self, *words: str | None) -> None:
        """The next words of the answer under way, or of the next one; END ends it."""
        for word in words:
            self._words.put(word)

    def kill(self) -> None:
        """As when its process is killed: the port is closed, and every connection breaks off."""
        self._server.shutdown()
        self._server.socket.close()
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._words.put(END)  # lets the thread of the answer end


def _handler(words: queue.SimpleQueue[str | None], connections: set[socket.socket]) -> type:
    class Handler(http.server.BaseHTTPRequestHandler):
        def setup(self) -> None:
            super().setup()
            connections.add(self.connection)

        def finish(self) -> None:
            connections.discard(self.connection)
            with suppress(OSError):
                super().finish()

        def do_GET(self) -> None:
            self._head("application/json")
            self.wfile.write(json.dumps({"data": [{"id": "reader-7b"}]}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._head("text/event-stream")
            with suppress(OSError):
                while (word := words.get()) is not END:
                    self._chunk({"content": word})
                self._chunk({}, "stop")
                self.wfile.write(b"data: [DONE]\n\n")

        def _head(self, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()

        def _chunk(self, delta: dict[str, str], finish: str | None = None) -> None:
            chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler
