"""The app in a process of its own: it has the settings that it is given, and of the shell's only those passed on."""

from __future__ import annotations

import httpx

from ixc.benchmarks.app_process import AppProcess, settings_of_the_shell


def test_settings_of_the_shell_are_passed_on_on_purpose_only(monkeypatch):
    monkeypatch.setenv("IXC_AUTH", "alice:correct horse")
    monkeypatch.setenv("IXC_MODEL", "ixc-nano")
    with AppProcess({"IXC_MODEL": "no-such-model"}) as app:
        assert app.wait_for_model() == "failed"
        assert httpx.get(f"{app.url}/status").status_code == 200  # nobody is asked who they are
    with AppProcess(settings_of_the_shell() | {"IXC_MODEL": "no-such-model"}) as app:
        assert httpx.get(f"{app.url}/status").status_code == 401
