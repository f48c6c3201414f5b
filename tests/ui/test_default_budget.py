"""A budget that nobody named is the model's own, by whatever way the question came."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from PIL import Image

from ixc.application.engine_provider import EngineProvider
from ixc.application.services import Services
from ixc.application.session import SessionStore
from ixc.application.waiting import WaitingLine
from ixc.settings import Settings
from ixc.ui.api import ApiHandlers
from tests.event_loops import run_apart


class NineTiles:
    """What the provider asks of an engine whose checkpoint says HD-9."""

    model_name, device_name, limits_note, served_as = "nine", "a test", "", ""
    default_generation, default_system, layout = None, "", EngineProvider(Settings()).layout
    is_away, failure, default_max_patches = False, None, 9


def services(load=lambda *_: NineTiles()) -> Services:
    settings = Settings()
    return Services(settings, EngineProvider(settings, load), SessionStore(), WaitingLine(1))


@pytest.fixture
def with_model() -> Services:
    shared = services()
    shared.provider.start()
    assert shared.provider.wait(10)
    return shared


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "wide.png"
    Image.new("RGB", (1600, 900)).save(file)
    return file


def planned(shared: Services, *inputs) -> dict:
    asked = SimpleNamespace(username=None, client=SimpleNamespace(host="198.51.100.1"))
    return run_apart(ApiHandlers(shared).plan(asked, *inputs))


def test_a_budget_left_out_is_the_models_own(with_model, path):
    assert with_model.default_max_patches == 9
    assert planned(with_model, path)["max_patches"] == 9


def test_a_budget_that_is_named_counts(with_model, path):
    assert planned(with_model, path, 4)["max_patches"] == 4


def test_without_a_model_it_is_the_settings(path):
    shared = services()
    assert shared.default_max_patches == Settings().default_max_patches
    assert planned(shared, path)["max_patches"] == Settings().default_max_patches
    limited = SimpleNamespace(settings=Settings(max_patches_limit=16), provider=SimpleNamespace(engine=None))
    assert Services.default_max_patches.fget(limited) == 16
