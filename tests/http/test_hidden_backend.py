"""Visitors of an app in front of another server see the model's name; the server's address is for whoever runs the app."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import httpx
import pytest

from ixc.application.engine_provider import EngineProvider
from ixc.benchmarks.app_process import AppProcess
from ixc.settings import Settings
from ixc.ui.export import export_json, export_markdown
from ixc.ui.settings_panel import defaults_update, model_choices
from ixc.ui.transcript import Conversation
from tests.http.flaky_server import Flaky, flaky_server

WORDS = {"en": "on another server", "zh": "在另一台服务器上运行"}


def seen(provider: EngineProvider) -> str:
    """What the page is told of the model, and the choices of the settings, as JSON."""
    chosen, *_ = defaults_update(provider, [None] * 7, "en")
    return json.dumps([provider.status.page_value(), model_choices(provider.settings), chosen["choices"]])


def test_chip_choice_and_exports_tell_the_model_s_name():
    with flaky_server() as port:
        provider = EngineProvider(Settings(backend=f"http://127.0.0.1:{port}"))
        provider.start()
        assert provider.wait(20)
        assert (provider.status.phase, provider.status.name) == ("ready", "INF-LLaVA")
        told, choices = seen(provider), defaults_update(provider, [None] * 7, "en")[0]["choices"]
        now = datetime.now(UTC)
        exports = {language: export_markdown(Conversation(), None, provider.status, now, language) for language in WORDS}
        data = export_json(Conversation(), None, provider.status, now)["model"]
        provider.engine.close()
    assert choices == [("INF-LLaVA", provider.settings.model)]
    assert data == {"name": "INF-LLaVA", "device": WORDS["en"]}
    for language, words in WORDS.items():
        assert f"INF-LLaVA · {words}\n" in exports[language]
    for text in (told, *exports.values()):
        assert str(port) not in text
        assert "127.0.0.1" not in text


def test_what_goes_wrong_is_told_without_the_address():
    with flaky_server() as port:
        Flaky.models = ()
        provider = EngineProvider(Settings(backend=f"http://127.0.0.1:{port}"))
        provider.start()
        assert provider.wait(20)
    assert provider.status.phase == "failed"
    assert "lists no model" in seen(provider)
    assert str(port) not in seen(provider)


@pytest.mark.parametrize("backend", ["gpu-7.internal:8000", "ftp://gpu-7.internal", "alice:s3cret@gpu-7.internal"])
def test_an_address_that_is_none_is_not_told_either(backend):
    provider = EngineProvider(Settings(backend=backend))
    provider.start()
    assert provider.wait(20)
    assert "IXC_BACKEND must be an http" in seen(provider)
    assert "gpu-7" not in seen(provider)


def test_while_the_server_is_waited_for_its_address_is_in_the_log_only():
    with AppProcess({"IXC_BACKEND": "http://alice:s3cret@127.0.0.1:9/at"}) as front:
        deadline_s = time.monotonic() + 60
        while "the model is that of http://127.0.0.1:9/at" not in front.log():
            assert time.monotonic() < deadline_s, front.log()
            time.sleep(0.1)
        assert "s3cret" not in front.log()
        for path in ("/", "/config", "/v1/models", "/health", "/status", "/metrics"):
            assert "127.0.0.1:9/at" not in httpx.get(front.url + path).text
