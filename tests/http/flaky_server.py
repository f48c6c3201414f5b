"""Another server that speaks the protocol and fails on order."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from typing import ClassVar

ODD_LINE_ENDS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei"
"""What str.splitlines takes for line ends and a stream of events does not."""


class Flaky(http.server.BaseHTTPRequestHandler):
    """Speaks the protocol; what it does with a question is in ``behaviour``."""

    behaviour = "answer"
    models = ("INF-LLaVA",)
    kind: ClassVar[dict] = {"ixc": {"layout": {"kind": "dual_perspective", "view_px": 336}}}
    """What it lists of each model, besides its name."""
    refusal = (400, {"error": {"message": "max_tokens must be at least 1."}})
    """How it refuses a question, when it is strict; when it is picky, one with fields that OpenAI does not have."""
    asked = ()
    """The bodies of the questions so far."""
    known_as = None
    """The Authorization header of the last request."""
    released = threading.Event()
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        type(self).known_as = self.headers["Authorization"]
        if type(self).behaviour == "silent":
            type(self).released.wait(30)
        if type(self).behaviour == "locked":
            return self._json(401, {"error": {"message": "Who are you?"}})
        if type(self).behaviour == "starting":  # as a proxy whose servers are not up yet
            return self._json(503, {"error": {"message": "No server is up.", "code": "no_replica"}})
        return self._json(200, {"data": [{"id": name, **type(self).kind} for name in type(self).models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked += (body,)
        own = {"max_patches", "repetition_penalty", "num_beams", "mm_processor_kwargs"} & set(body)
        if type(self).behaviour == "strict" or (type(self).behaviour == "picky" and own):
            return self._json(*type(self).refusal)
        if type(self).behaviour == "locked to questions":
            return self._json(403, {"error": {"message": "Not you."}})
        if type(self).behaviour == "vllm" and "mm_processor_kwargs" in body:  # without --trust-request-mm-kwargs
            return self._json(400, {"error": {"message": "Per-request mm_processor_kwargs are disabled by default"}})
        if type(self).behaviour == "busy":
            return self._json(429, {"error": {"message": "All places are taken.", "code": "server_busy"}})
        if type(self).behaviour == "error":
            return self._json(500, {"error": {"message": "something broke"}})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        if type(self).behaviour == "nonsense":
            self.wfile.write(b"data: {broken\n\n")
            return None
        for word in (ODD_LINE_ENDS,) if type(self).behaviour == "odd" else ("All ", "is "):
            self._delta({"content": word})
        if type(self).behaviour == "die":
            self.connection.close()
            return None
        self._delta({"content": "well"}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def _delta(self, delta, finish=None):
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        self.wfile.write(f"data: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n".encode())
        self.wfile.flush()

    def _json(self, status, value):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def flaky_server(port=0):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Flaky.behaviour, Flaky.models, Flaky.asked = "answer", ("INF-LLaVA",), ()
    usual = Flaky.kind, Flaky.refusal
    try:
        yield server.server_port
    finally:
        Flaky.kind, Flaky.refusal = usual
        server.shutdown()
        server.server_close()
