"""A disk that takes no more: uploads are refused in a sentence, nothing of them stays, and the log says what it was."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ixc.application.raised import where_raised
from ixc.benchmarks.app_process import AppProcess
from ixc.hosting.upload_room import UploadLimits, UploadRoom

SENTENCE = "The file could not be stored; the server's disk may be full. Free some space and try again."


def take_small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


@pytest.mark.parametrize("num_bytes", [1_000_000, 200_100], ids=["far too large", "by what was still to be written"])
def test_an_upload_that_the_disk_does_not_take_is_answered_with_507(num_bytes):
    with AppProcess({"IXC_MODEL": "no-such-model"}, preexec=take_small_files_only) as app:
        answer = httpx.post(f"{app.url}/gradio_api/upload", files={"files": ("a.png", os.urandom(num_bytes))}, timeout=30)
        assert (answer.status_code, answer.text) == (507, SENTENCE)
        assert not [name for _, _, names in os.walk(app.uploads_path) for name in names]
        (line,) = [line for line in app.log().splitlines() if "an upload could not be stored" in line]
        assert "OSError EFBIG < " in line
        assert "Traceback" not in app.log()
        assert httpx.post(f"{app.url}/gradio_api/upload", files={"files": ("a.png", b"x")}).status_code == 200


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EACCES, 500)])
def test_only_a_lack_of_room_is_called_one(number, status):
    def fail(_: Request) -> JSONResponse:
        raise OSError(number, os.strerror(number))

    room = Middleware(UploadRoom, uploads=set, limits=UploadLimits(1000))
    app = Starlette(routes=[Route("/gradio_api/upload", fail, methods=["POST"])], middleware=[room])
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/gradio_api/upload", content=b"x").status_code == status


def raised_by(action) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  whatever it is
        action()
    return where_raised(caught.value)


def test_the_systems_own_name_of_an_error_is_logged_and_not_its_words(tmp_path):
    missing = tmp_path / "my diagnosis"
    assert raised_by(missing.read_text).startswith("FileNotFoundError ENOENT < ")

    def write_to_a_full_disk() -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")

    assert raised_by(write_to_a_full_disk).startswith("OSError ENOSPC < test_full_disk.py:")
    assert raised_by(lambda: int("my diagnosis")).startswith("ValueError < ")
    for error in (OSError("my diagnosis"), OSError(99999, "my diagnosis")):
        assert where_raised(error) == "OSError"
