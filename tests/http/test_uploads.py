"""Forms that no page would send: what came of them does not stay on the disk."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import httpx
import pytest

PART = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
FILE = PART % (b"files", b'; filename="a.png"', b"x" * 1000)
END = b"--b--\r\n"


def files(app) -> set[Path]:
    """What others of this app are still tidying away may vanish meanwhile."""
    return {Path(folder, name) for folder, _, names in os.walk(app.uploads_path) for name in names}


def wait_until(is_so, what: str) -> None:
    deadline_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline_s, what


@pytest.mark.parametrize(
    "body",
    [
        PART % (b"x", b'; filename="a.png"', b"x") + END,
        FILE + PART % (b"x", b'; filename="a.png"', b"x") + END,
        FILE + FILE + END,
        FILE + PART % (b"text", b"", b"x") + END,
        FILE[:500],
        FILE,
    ],
    ids=["another name", "a second of another name", "two files", "a text", "half a file", "no end"],
)
def test_a_form_that_is_not_one_whole_file_leaves_nothing(app, http, body):
    before = files(app)
    answer = http.post("/gradio_api/upload", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 400
    assert answer.text
    assert not files(app) - before


@pytest.mark.parametrize("name", [b"..", b"../..", b"x" * 3000, "表".encode() * 100 + b".png", b"+2AA-.png"])
def test_any_name_gets_a_file_that_is_told_of(app, http, name):
    """In UTF-7 the last one is half a character."""
    before = files(app)
    headers = {"content-type": "multipart/form-data; boundary=b" + "; charset=utf-7" * name.startswith(b"+")}
    body = PART % (b"files", b'; filename="' + name + b'"', b"x") + END
    (path,) = http.post("/gradio_api/upload", content=body, headers=headers).raise_for_status().json()
    assert files(app) - before == {Path(path)}
    Path(path).unlink()


def test_a_sender_who_goes_away_leaves_nothing(app):
    before, url = files(app), httpx.URL(app.url)
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection((url.host, url.port), timeout=30) as peer:
        peer.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + FILE[:500])
        wait_until(lambda: files(app) - before, "nothing arrived")
    wait_until(lambda: not files(app) - before, "half a file stayed")
