"""How ``ixc replicas`` logs: as ``ixc app`` does, by the same option and variable."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ixc.cli import main


@pytest.mark.parametrize(
    ("options", "named", "is_json"),
    [([], "", False), ([], "json", True), (["--log-format", "json"], "", True), (["--log-format", "text"], "json", False)],
)
def test_lines_have_the_format_that_is_asked_for(options, named, is_json):
    command = [sys.executable, "-m", "ixc", "replicas", "--to", "http://127.0.0.1:9", "--port", "0", *options]
    env = {**os.environ, "IXC_LOG_FORMAT": named}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        line = process.stderr.readline()
        process.terminate()  # at once: also before it serves, that is its end
        assert process.wait(20) == 0
    assert line.startswith("{") == is_json
    message = json.loads(line)["message"] if is_json else line
    assert "1 servers are behind http://127.0.0.1:0" in message


def test_a_format_that_there_is_not_is_refused_in_one_line(capsys):
    assert main(["replicas", "--to", "http://127.0.0.1:9", "--log-format", "xml"]) == 1
    assert "must be text or json, not 'xml'" in capsys.readouterr().err
