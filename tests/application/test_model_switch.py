"""A model that has to be downloaded: until it is here the one before answers, and the choice can be taken back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.errors import CheckpointError, IxcError
from ixc.image_layout import LayoutKind
from ixc.settings import Settings
from ixc.ui.settings_panel import defaults_update
from tests.application.test_engine_provider import QuietEngine


class Download:
    """Stands in for the Hub: goes on when it is told to, and says what it was asked for and whether it was given up."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.threads: list[threading.Thread] = []
        self.given_up: list[str] = []
        self.finished: set[str] = set()
        self.fails: dict[str, Exception] = {}
        self.share = 0.0

    def __call__(self, settings: Settings, held_bytes: int, on_progress: Callable[[str, float | None], None]) -> None:
        model = settings.model
        self.threads.append(threading.current_thread())
        self.asked.append((model, held_bytes))
        while model not in self.finished:
            if model in self.fails:
                raise self.fails[model]
            try:
                on_progress("Downloading", self.share)
            except Exception:
                self.given_up.append(model)
                raise
            time.sleep(0.005)


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def load(settings: Settings, _: object) -> QuietEngine:
    if settings.model == "inf-llava-8b":
        raise CheckpointError("It is damaged.")
    return QuietEngine(settings)


@pytest.fixture
def download() -> Download:
    return Download()


@pytest.fixture
def provider(download: Download) -> EngineProvider:
    download.finished.add("ixc-nano")
    provider = EngineProvider(Settings(model="ixc-nano"), load, download)
    provider.start()
    assert provider.wait(10)
    return provider


def test_the_model_that_is_there_answers_until_the_other_one_is_here(provider, download):
    held = provider.engine
    provider.switch("vl-7b")
    download.share = 0.12
    until(lambda: provider.status.coming.fraction == 0.12)
    status = provider.status
    assert (status.phase, status.key, status.layout.kind) == ("ready", "ixc-nano", LayoutKind.DYNAMIC_PARTITION)
    assert status.page_value()["coming"] == {"name": "InternLM-XComposer2-VL 7B", "key": "vl-7b", "percent": 12}
    assert provider.wait(0)  # nobody waits
    with provider.borrowed() as engine:
        assert engine is held
        assert not held.is_closed
        del engine
    assert defaults_update(provider, [0] * 7)[0]["value"] == "vl-7b"  # what was chosen, not what runs
    assert download.asked[-1] == ("vl-7b", 75)  # with what the old one will give back

    del held
    download.finished.add("vl-7b")
    until(lambda: provider.status.key == "vl-7b")
    assert provider.wait(10)
    assert (provider.status.phase, provider.status.coming) == ("ready", None)
    assert provider.status.freed.num_bytes == 75


def test_the_running_model_is_chosen_again_and_the_download_is_given_up(provider, download):
    provider.switch("vl-7b")
    until(lambda: download.asked[-1][0] == "vl-7b")
    provider.switch("ixc-nano")
    assert (provider.status.phase, provider.status.key, provider.status.coming) == ("ready", "ixc-nano", None)
    until(lambda: download.given_up == ["vl-7b"])
    provider.switch("vl-7b")  # later it goes on
    download.finished.add("vl-7b")
    until(lambda: provider.status.key == "vl-7b")
    assert provider.wait(10)


def test_yet_another_model_takes_the_place_of_one_that_is_on_its_way(provider, download):
    provider.switch("vl-7b")
    provider.switch("vl-7b")  # twice is once
    until(lambda: download.asked[-1][0] == "vl-7b")
    provider.switch("4khd-7b")
    until(lambda: download.given_up == ["vl-7b"])
    assert provider.status.coming.key == "4khd-7b"
    download.finished.add("vl-7b")
    download.finished.add("4khd-7b")
    until(lambda: provider.status.key == "4khd-7b")
    assert provider.wait(10)
    assert [model for model, _ in download.asked] == ["ixc-nano", "vl-7b", "4khd-7b"]


def test_a_download_that_fails_leaves_the_model_where_it_was(provider, download):
    held = provider.engine
    download.fails["vl-7b"] = CheckpointError("The download broke off.")
    provider.switch("vl-7b")
    until(lambda: provider.status.coming is None)
    assert (provider.status.phase, provider.status.key) == ("ready", "ixc-nano")
    assert provider.status.error.detail == "The download broke off."
    assert provider.engine is held
    assert not held.is_closed


def test_while_weights_are_loaded_nothing_else_can_be_chosen(provider, download):
    download.finished.add("vl-7b")
    with provider.borrowed() as engine:
        provider.switch("vl-7b")
        until(lambda: provider.status.phase == "loading")
        with pytest.raises(IxcError, match="being loaded"):
            provider.switch("ixc-nano")
        del engine
    assert provider.wait(10)


def test_another_model_can_be_chosen_while_the_first_one_of_all_is_downloaded(download):
    provider = EngineProvider(Settings(model="4khd-7b"), load, download)
    provider.start()
    provider.start()
    download.share = 0.3
    until(lambda: provider.status.fraction == 0.3)
    assert (provider.status.phase, provider.status.key, provider.status.coming) == ("loading", "4khd-7b", None)
    answered: list[str] = []

    def ask() -> None:
        with provider.borrowed() as engine:
            answered.append(engine.model_name)

    waiting = threading.Thread(target=ask)
    waiting.start()
    download.finished.add("ixc-nano")
    provider.switch("ixc-nano")
    waiting.join(10)
    assert answered == ["ixc-nano"]
    until(lambda: download.given_up == ["4khd-7b"])
    assert provider.status.phase == "ready"


def test_what_came_of_a_switch_is_forgotten_when_the_running_model_is_chosen(provider, download):
    download.finished |= {"vl-7b", "inf-llava-8b"}
    assert provider.status.num_switches == 0
    provider.switch("inf-llava-8b")
    until(lambda: provider.status.error)
    assert provider.wait(10)
    assert (provider.status.key, provider.status.num_switches) == ("ixc-nano", 1)
    provider.switch("ixc-nano")
    assert (provider.status.phase, provider.status.error) == ("ready", None)
    provider.switch("vl-7b")
    until(lambda: provider.status.freed and provider.status.phase == "ready")
    assert provider.wait(10)
    provider.switch("vl-7b")
    assert provider.status.freed is None
    assert provider.status.page_value()["switches"] == 2


def test_a_download_ends_with_the_app(download):
    download.finished.add("ixc-nano")
    services = Services.start(Settings(), EngineProvider(Settings(model="ixc-nano"), load, download))
    assert services.provider.wait(10)
    services.provider.switch("vl-7b")
    until(lambda: download.asked[-1][0] == "vl-7b")
    services.traffic.refuse_new()
    until(lambda: download.given_up == ["vl-7b"])
    download.threads[-1].join(10)
    assert not download.threads[-1].is_alive()
    assert services.provider.status.key == "ixc-nano"  # and nothing is loaded instead
