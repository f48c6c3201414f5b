"""A stand-in for the Hub's HTTP API on loopback: as much of it as its own client needs to create and fill a Space."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_alice"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LFS_FROM_BYTES = 100_000


@dataclass
class StandInSpace:
    """What the Hub holds of one Space."""

    visibility: str | None = None
    hardware: str = "cpu-basic"
    sleep_time: int | None = None
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    num_commits: int = 0


class SpacesHub:
    """Alice's account, who belongs to one organisation. Records what is asked, and fails where it is told to."""

    def __init__(self) -> None:
        self.spaces: dict[str, StandInSpace] = {}
        self.stored: dict[str, bytes] = {}
        """Large files by their sha256."""
        self.requests: list[tuple[str, str, Any]] = []
        """(method, path, JSON body or number of bytes)"""
        self.refuse: dict[str, tuple[int, str]] = {}
        """End of a path -> status and the Hub's words."""
        self.hang_up_on: str | None = None
        """Close the connection in the middle of a request whose path holds this."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def asked(self, method: str, ending: str) -> list[Any]:
        """The bodies of all requests of this kind."""
        return [body for how, path, body in self.requests if how == method and path.endswith(ending)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _handler(hub: SpacesHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def _serve(self) -> None:
            path = self.path.split("?")[0]
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_json = "json" in (self.headers.get("Content-Type") or "") and "ndjson" not in self.headers["Content-Type"]
            body = json.loads(data) if is_json and data else data
            hub.requests.append((self.command, path, body if is_json else len(data)))
            if hub.hang_up_on and hub.hang_up_on in path:
                self.close_connection = True
                return self.connection.close()
            for ending, (status, words) in hub.refuse.items():
                if path.endswith(ending):
                    return self._answer(status, {"error": words})
            if match := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
                assert hashlib.sha256(data).hexdigest() == match[1]
                hub.stored[match[1]] = data
                return self._answer(200, {})
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._answer(401, {"error": "Invalid username or password."})
            if path == "/api/whoami-v2":
                return self._answer(200, {"type": "user", "name": "alice", "orgs": [{"name": "readers"}]})
            if path == "/api/validate-yaml":
                return self._answer(200, {"errors": [], "warnings": []})
            if path == "/api/repos/create":
                return self._create(body)
            if match := re.fullmatch(r"/(?:api/)?spaces/([^/]+/[^/]+?)(?:\.git)?(/.*)?", path):
                return self._space(match[1], match[2] or "", body)
            return self._answer(404, {"error": "Not found"})

        def _create(self, body: dict[str, Any]) -> None:
            repo_id = f"{body.get('organization') or 'alice'}/{body['name']}"
            if repo_id in hub.spaces:
                return self._answer(409, {"error": "You already created this space repo"})
            variables = {each["key"]: each["value"] for each in body.get("variables", [])}
            hub.spaces[repo_id] = StandInSpace(
                body.get("visibility"), body.get("hardware", "cpu-basic"), body.get("sleepTimeSeconds"), variables
            )
            return self._answer(200, {"url": f"{hub.endpoint}/spaces/{repo_id}", "name": repo_id, "id": repo_id})

        def _space(self, repo_id: str, rest: str, body: Any) -> None:
            space = hub.spaces.get(repo_id)
            if space is None:
                return self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            runtime = {
                "stage": "BUILDING",
                "hardware": {"current": None, "requested": space.hardware},
                "gcTimeout": space.sleep_time,
            }
            match (self.command, rest):
                case ("GET", ""):
                    siblings = [{"rfilename": name} for name in space.files]
                    return self._answer(200, {"id": repo_id, "sha": COMMIT, "siblings": siblings})
                case ("GET", "/revision/main"):
                    return self._answer(200, {"id": repo_id, "sha": COMMIT, "siblings": []})
                case ("GET", "/tree/main"):
                    entries = [{"type": "file", "path": n, "size": len(d), "oid": _git_oid(d)} for n, d in space.files.items()]
                    return self._answer(200, entries)
                case ("GET", "/runtime"):
                    return self._answer(200, runtime)
                case ("GET", "/variables"):
                    return self._answer(200, _as_variables(space.variables))
                case ("POST", "/variables"):
                    space.variables[body["key"]] = body["value"]
                    return self._answer(200, _as_variables(space.variables))
                case ("POST", "/secrets"):
                    space.secrets[body["key"]] = body["value"]
                    return self._answer(200, {})
                case ("POST", "/hardware"):
                    space.hardware, space.sleep_time = body["flavor"], body.get("sleepTimeSeconds", space.sleep_time)
                    runtime["hardware"]["requested"] = space.hardware
                    return self._answer(200, runtime)
                case ("POST", "/sleeptime"):
                    space.sleep_time = body["seconds"]
                    return self._answer(200, runtime)
                case ("POST", "/preupload/main"):
                    return self._answer(200, {"files": [_upload_mode(space, each) for each in body["files"]]})
                case ("POST", "/info/lfs/objects/batch"):
                    return self._answer(
                        200, {"transfer": "basic", "objects": [self._lfs_action(each) for each in body["objects"]]}
                    )
                case ("POST", "/commit/main"):
                    _commit(space, [json.loads(line) for line in body.splitlines()])
                    return self._answer(
                        200, {"commitUrl": f"{hub.endpoint}/spaces/{repo_id}/commit/{COMMIT}", "commitOid": COMMIT}
                    )
            return self._answer(404, {"error": f"{self.command} {rest}"})

        def _lfs_action(self, wanted: dict[str, Any]) -> dict[str, Any]:
            """Nothing to do for what is stored already."""
            if wanted["oid"] in hub.stored:
                return wanted
            return {**wanted, "actions": {"upload": {"href": f"{hub.endpoint}/lfs/{wanted['oid']}"}}}

        def _answer(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **(headers or {}),
            }.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content)

    def _upload_mode(space: StandInSpace, asked: dict[str, Any]) -> dict[str, Any]:
        there = space.files.get(asked["path"])
        is_large = asked["size"] >= _LFS_FROM_BYTES
        oid = None if there is None else (hashlib.sha256(there).hexdigest() if is_large else _git_oid(there))
        return {"path": asked["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False, "oid": oid}

    def _commit(space: StandInSpace, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "file":
                    space.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    space.files[value["path"]] = hub.stored[value["oid"]]
                case "deletedFile":
                    del space.files[value["path"]]
        space.num_commits += 1

    return Handler


def _as_variables(variables: dict[str, str]) -> dict[str, Any]:
    return {name: {"key": name, "value": value} for name, value in variables.items()}
