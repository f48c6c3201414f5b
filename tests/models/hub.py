"""A stand-in for the Hub's HTTP API on loopback, just enough for its own client to list and download a model or a data set."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/small-model"


class DownloadHub:
    """Serves ``files`` (name -> bytes) as ``REPOSITORY``; records what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[tuple[str, str]] = []
        """(method, file)"""
        self.ranges: list[tuple[str, int]] = []
        """(file, first byte) of the requests for a part"""
        self.serves_ranges = True
        self.largest_small_bytes = 10 * 1024 * 1024
        self.stall_on: str | None = None
        """Send half of this file, then keep the client waiting."""
        self.missing: str | None = None
        """Listed, but not there when it is looked up."""
        self.stalled = threading.Event()
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(hub: DownloadHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path.split("?")[0]
            if match := re.fullmatch(rf"(?:/datasets)?/{REPOSITORY}/resolve/[^/]+/(.+)", path):
                return self._file(match[1])
            if re.fullmatch(rf"/api/(?:models|datasets)/{REPOSITORY}/tree/{COMMIT}", path):
                entries = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in hub.files.items()
                ]
                return self._json(200, entries)
            if re.fullmatch(rf"/api/(?:models|datasets)/{REPOSITORY}(/revision/main)?", path):
                siblings = [{"rfilename": name} for name in hub.files]
                return self._json(200, {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings})
            return self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

        def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, text)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def _file(self, name: str) -> None:
            data = hub.files[name]
            hub.requests.append((self.command, name))
            if name == hub.missing:
                return self._json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            digest = (
                hashlib.sha256 if len(data) > hub.largest_small_bytes else hashlib.sha1
            )  # as the Hub: large files are LFS's
            start = 0
            if self.command == "GET" and (match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
                hub.ranges.append((name, int(match[1])))
                start = int(match[1]) if hub.serves_ranges else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", f'"{digest(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if self.command == "HEAD":
                return
            if name == hub.stall_on:
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                hub.stalled.set()
                hub.release.wait()
                return
            self.wfile.write(data[start:])

    return Handler
