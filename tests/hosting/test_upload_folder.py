"""Folders for uploads, of processes that live and of processes that were killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ixc.errors import SettingsError
from ixc.hosting import upload_folder
from ixc.hosting.upload_folder import UploadFolder

PROGRAM = """
from ixc.hosting.upload_folder import UploadFolder
folder = UploadFolder()
(folder.path / "private.png").write_bytes(b"x")
print(folder.path, flush=True)
input()
"""


@contextmanager
def server(base: Path) -> Iterator[tuple[subprocess.Popen, Path]]:
    env = {**os.environ, "GRADIO_TEMP_DIR": str(base)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    )
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def test_what_a_killed_server_left_goes_when_the_next_starts_and_a_live_one_keeps_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(upload_folder, "_UNLOCKED_FOR_S", 0)
    (tmp_path / "somebody's.png").write_bytes(b"x")
    (tmp_path / "ixc-uploads-file").write_bytes(b"x")
    with server(tmp_path) as (killed, left), server(tmp_path) as (_, live):
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
        assert (left / "private.png").exists()
        env = {"GRADIO_TEMP_DIR": str(tmp_path)}
        own = UploadFolder(env)
        assert not left.exists()
        assert (live / "private.png").exists()
        assert env == {"GRADIO_TEMP_DIR": str(own.path)}
        (own.path / "a.png").write_bytes(b"x")
        own.delete()
        assert {path.name for path in tmp_path.iterdir()} == {"somebody's.png", "ixc-uploads-file", live.name}


def test_a_folder_that_was_made_a_moment_ago_is_left_alone(tmp_path):
    """Its process has no lock on it yet."""
    made = tmp_path / "ixc-uploads-new"
    made.mkdir()
    UploadFolder({"GRADIO_TEMP_DIR": str(tmp_path)}).delete()
    assert made.exists()


def test_a_folder_that_cannot_be_is_said_in_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match="GRADIO_TEMP_DIR"):
        UploadFolder({"GRADIO_TEMP_DIR": str(tmp_path / "file" / "uploads")})
