"""Starting the app: one sentence and exit code 1 when it cannot be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def start(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_taken_port_is_said_in_one_sentence():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = start(IXC_PORT=str(port))
    assert ended.returncode == 1
    assert ended.stderr.strip() == f"Port {port} is taken; stop the other program or choose another port with IXC_PORT."


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"IXC_PORT": "many"}, "IXC_PORT must be a whole number"),
        ({"IXC_HOST": "203.0.113.7", "IXC_PORT": "7899"}, "cannot be used"),
    ],
)
def test_a_wrong_setting_is_said_in_one_sentence(env, says):
    ended = start(**env)
    assert ended.returncode == 1
    assert says in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_importing_the_app_starts_nothing():
    code = "import app, sys; assert not {'gradio', 'torch', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
