"""IXC_BACKEND on the command line: asked where a question is asked, and never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ixc.cli import main
from tests.http.flaky_server import Flaky, flaky_server


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "poster.png"
    Image.new("RGB", (300, 200), "#fbf3e4").save(path)
    return path


def test_ask_asks_the_backend(image, monkeypatch, capsys):
    with flaky_server() as port:
        monkeypatch.setenv("IXC_BACKEND", f"http://127.0.0.1:{port}")
        assert main(["ask", str(image), "What is this?", "--max-new-tokens", "7"]) == 0
    out, err = capsys.readouterr()
    assert out == "All is well\n"
    assert f"INF-LLaVA, http://127.0.0.1:{port}" in err
    (body,) = Flaky.asked
    assert body["max_tokens"] == 7
    assert body["messages"][-1]["content"][1]["text"] == "What is this?"


def test_ask_does_not_wait_for_a_backend_that_is_not_there(image, monkeypatch, capsys):
    monkeypatch.setenv("IXC_BACKEND", "http://127.0.0.1:9")
    assert main(["ask", str(image), "What is this?"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "ixc: The server at http://127.0.0.1:9 cannot be reached; start it or correct IXC_BACKEND.\n"


@pytest.mark.parametrize("command", [["bench"], ["eval", "nano"], ["eval", "docvqa", "--data", "x"]])
def test_what_looks_into_a_model_says_that_it_needs_one_here(monkeypatch, capsys, command):
    monkeypatch.setenv("IXC_BACKEND", "http://127.0.0.1:9")
    assert main(command) == 1
    sentence = f"ixc {command[0]} runs the model on this machine, and not at another server; unset IXC_BACKEND."
    assert capsys.readouterr() == ("", f"ixc: {sentence}\n")
