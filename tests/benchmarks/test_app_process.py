"""The app in a process of its own: it has the settings that it is given, and of the shell's only those passed on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ixc.benchmarks.app_process import AppProcess, settings_of_the_shell


@pytest.fixture
def in_place_of_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that tells its settings and ends: the process, and what it gets, are real."""
    program = tmp_path / "tells-its-settings"
    program.write_text("#!/bin/sh\nenv | grep '^IXC_'\n", encoding="ascii")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


def settings_of(app: AppProcess) -> set[str]:
    """Those of its process, but for its port."""
    with pytest.raises(RuntimeError, match="the app ended with exit code 0") as ended, app:
        pass
    return {line for line in str(ended.value).splitlines() if line.startswith("IXC_") and not line.startswith("IXC_PORT=")}


def test_settings_of_the_shell_are_passed_on_on_purpose_only(in_place_of_the_app, monkeypatch):
    monkeypatch.setenv("IXC_AUTH", "alice:correct horse")
    monkeypatch.setenv("IXC_MODEL", "ixc-nano")
    given = {"IXC_MODEL": "no-such-model"}
    assert settings_of(AppProcess(given)) == {"IXC_MODEL=no-such-model"}
    assert settings_of(AppProcess(settings_of_the_shell() | given)) >= {
        "IXC_AUTH=alice:correct horse",
        "IXC_MODEL=no-such-model",
    }
