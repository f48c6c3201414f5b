"""What a browser tab does, without the browser: the page's own requests over plain HTTP."""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Call:
    """One call's answer and its weight on the wire, bodies and headers in both directions."""

    data: list[Any]
    num_bytes: int


class PageClient:
    """One open tab: its session, and the values of the page's components. Close it to close the tab."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.session = secrets.token_hex(8)
        # A pool of its own for the two requests that stay open, so that they never hold the short ones up.
        self._http = httpx.Client(base_url=f"{url}/gradio_api", timeout=httpx.Timeout(120.0))
        self.config = httpx.get(f"{url}/config", timeout=30).json()
        self._ids = {c["props"].get("elem_id"): c["id"] for c in self.config["components"] if c["props"].get("elem_id")}
        self._values = {c["id"]: c["props"].get("value") for c in self.config["components"]}
        self._closed = threading.Event()
        self._heart_beats = threading.Event()
        self._heartbeat_client = httpx.Client(timeout=httpx.Timeout(30.0, read=None))
        self._heartbeat_socket: socket.socket | None = None
        self._heartbeat = threading.Thread(target=self._keep_alive, daemon=True)
        self._heartbeat.start()
        if not self._heart_beats.wait(30):
            raise TimeoutError("the app did not answer the page's heartbeat")

    # --- what a user does -----------------------------------------------------------------------------------------

    def upload(self, name: str, data: bytes) -> Call:
        """Upload a file and open it, as dropping it on the page does."""
        path = self._http.post("/upload", files={"files": (name, data)}).raise_for_status().json()[0]
        self.set_value("ixc-upload", {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}})
        return self.call("ixc-upload", "upload")

    def move_slider(self, max_patches: int) -> Call:
        self.set_value("ixc-budget", max_patches)
        return self.call("ixc-budget", "input")

    def ask(self, question: str) -> Iterator[dict[str, Any]]:
        """Ask, and yield the transcript as it grows."""
        self.set_value("ixc-question", question)
        yield from self.stream("ixc-question", "submit", "ixc-transcript")

    def stop(self) -> None:
        self.call("ixc-stop", "click")

    def set_value(self, elem_id: str, value: Any) -> None:
        self._values[self._ids[elem_id]] = value

    def value(self, elem_id: str) -> Any:
        return self._values[self._ids[elem_id]]

    def close(self) -> None:
        """Close the tab: the heartbeat's connection breaks, which is how the server learns of it."""
        self._closed.set()
        if self._heartbeat_socket is not None:  # a thread reads from it, so that closing alone would wait for the next beat
            with suppress(OSError):
                self._heartbeat_socket.shutdown(socket.SHUT_RDWR)
        self._heartbeat_client.close()
        self._http.close()

    # --- how the page talks ---------------------------------------------------------------------------------------

    def call(self, elem_id: str, event: str, event_data: Any = None) -> Call:
        """An event that does not wait in the queue. Raises httpx.HTTPStatusError for a refusal."""
        dependency = self._dependency(elem_id, event)
        response = self._http.post("/run/predict", json=self._body(dependency, event_data)).raise_for_status()
        data = response.json()["data"]
        self._take(dependency, data)
        request = response.request
        sizes = [len(request.content), len(response.content), _header_bytes(request.headers), _header_bytes(response.headers)]
        return Call(data, sum(sizes))

    def stream(self, elem_id: str, event: str, watched: str, event_data: Any = None) -> Iterator[Any]:
        """An event that goes through the queue; yields the values of the component ``watched``."""
        dependency = self._dependency(elem_id, event)
        self._http.post("/queue/join", json=self._body(dependency, event_data)).raise_for_status()
        place = dependency["outputs"].index(self._ids[watched])
        data: list[Any] = []
        with self._http.stream("GET", "/queue/data", params={"session_hash": self.session}) as response:
            for line in response.iter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line[5:])
                if message["msg"] in ("process_generating", "process_completed") and message["output"].get("data"):
                    data = _merge(
                        data, message["output"]["data"], is_diff=bool(data) and message["msg"] == "process_generating"
                    )
                    yield data[place]
                if message["msg"] in ("process_completed", "unexpected_error", "close_stream"):
                    break
        self._take(dependency, data)

    def _dependency(self, elem_id: str, event: str) -> dict[str, Any]:
        wanted = [self._ids[elem_id], event]
        return next(d for d in self.config["dependencies"] if wanted in d["targets"])

    def _body(self, dependency: dict[str, Any], event_data: Any) -> dict[str, Any]:
        return {
            "fn_index": dependency["id"],
            "data": [self._values.get(component) for component in dependency["inputs"]],
            "session_hash": self.session,
            "event_data": event_data,
            "trigger_id": dependency["targets"][0][0],
        }

    def _take(self, dependency: dict[str, Any], data: list[Any]) -> None:
        for component, value in zip(dependency["outputs"], data, strict=False):
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" in value:
                    self._values[component] = value["value"]
            else:
                self._values[component] = value

    def _keep_alive(self) -> None:
        try:
            with self._heartbeat_client.stream("GET", f"{self._url}/gradio_api/heartbeat/{self.session}") as response:
                self._heartbeat_socket = response.extensions["network_stream"].get_extra_info("socket")
                for _ in response.iter_lines():
                    self._heart_beats.set()
                    if self._closed.is_set():
                        return
        except (httpx.HTTPError, RuntimeError, OSError):
            return  # closed from the other thread


def _header_bytes(headers: httpx.Headers) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.raw)


def _merge(before: list[Any], now: list[Any], *, is_diff: bool) -> list[Any]:
    """Gradio sends the first state whole and then, per output, a list of edits [action, path, value]."""
    if not is_diff:
        return now
    return [_apply(old, edits) for old, edits in zip(before, now, strict=True)]


def _apply(value: Any, edits: list[Any]) -> Any:
    for action, path, new in edits:
        value = _edit(value, list(path), action, new)
    return value


def _edit(value: Any, path: list[Any], action: str, new: Any) -> Any:
    if not path:
        return value + new if action == "append" else new
    key, rest = path[0], path[1:]
    if rest:
        value[key] = _edit(value[key], rest, action, new)
    elif action == "append":
        value[key] = value[key] + new
    elif action == "delete":
        del value[key]
    elif action == "add" and isinstance(value, list):
        value.insert(int(key), new)
    else:
        value[key] = new
    return value
