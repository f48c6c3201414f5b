"""The model behind the page can be changed while people talk to it: nothing of the old one stays, and no answer breaks."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import core_model_loading

from ixc.application.engine_provider import EngineProvider
from ixc.application.model_choice import offered_models, offering_one_model
from ixc.chat.engine import Engine
from ixc.chat.events import Finished, FinishReason
from ixc.chat.loading import load_engine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView
from ixc.errors import CheckpointError, IxcError
from ixc.image_layout import DYNAMIC_PARTITION, ImageLayout, LayoutKind
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings, Settings
from ixc.ui.settings_panel import defaults_update
from tests.checkpoints import VL_REFERENCE, write_chat_checkpoint


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """A model that cuts tiles, and one that looks once."""
    root = tmp_path_factory.mktemp("models")
    return write_chat_checkpoint(root / "tiled"), write_chat_checkpoint(root / "single", reference=VL_REFERENCE)


def num_values(folder: Path) -> int:
    """Numbers in a checkpoint's file, counted without our code."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


def ask(provider: EngineProvider, image: DecodedImage) -> Finished:
    request = ChatRequest(
        "session",
        "What is it?",
        ImageView(image.image_id, 4),
        images={image.image_id: image},
        generation=GenerationSettings(max_new_tokens=3, do_sample=False),
    )
    with provider.borrowed() as engine:
        return list(engine.answer(request, StopFlag()))[-1]


def test_another_model_takes_the_place_of_the_first_which_leaves_nothing(folders, rng_image):
    tiled, single = folders
    provider = EngineProvider(Settings(model=str(tiled)))
    assert provider.layout == DYNAMIC_PARTITION
    provider.start()
    assert provider.wait(60)
    assert ask(provider, rng_image).stats.num_visual_tokens == 157 + 24 * 25  # 2 x 2 tiles: 24 rows of 24 and a newline
    with provider.borrowed() as engine:
        bytes_per_value = engine.runner.model.dtype.itemsize
        cached = engine.memory_report()["bytes"]
        del engine
    assert cached > 0

    provider.switch(str(single))
    assert provider.layout == ImageLayout(LayoutKind.SINGLE_VIEW, 490)  # at once, while the weights load
    assert provider.wait(60)
    status = provider.status
    assert (status.phase, status.key, status.error) == ("ready", str(single), None)
    assert status.freed.name == "tiled"
    # All weights of the file and the session's caches; buffers beside the weights are small.
    assert status.freed.num_bytes == pytest.approx(num_values(tiled) * bytes_per_value + cached, rel=0.01)
    assert ask(provider, rng_image).stats.num_visual_tokens == 1225

    with pytest.raises(CheckpointError, match="There is no model"):
        provider.switch(str(tiled.parent / "nothing"))
    assert provider.status.phase == "ready"
    empty = tiled.parent / "empty"
    empty.mkdir()
    provider.switch(str(empty))
    assert provider.wait(60)
    assert (provider.status.phase, provider.status.key) == ("ready", str(single))
    assert "config.json" in provider.status.error.detail
    assert ask(provider, rng_image).reason in (FinishReason.LENGTH, FinishReason.END_OF_TURN)
    provider.engine.close()


def test_what_a_failed_load_had_loaded_is_gone_before_the_old_model_is_loaded_again(folders, monkeypatch):
    """Both together may be what the device cannot hold. Memory runs out after 60 of the new one's tensors."""
    tiled, single = folders
    materialize = core_model_loading._materialize_copy
    loaded: list[StorageWeakRef] = []
    num_alive: list[int] = []

    def run_out(*args: object, **options: object) -> torch.Tensor:
        if len(loaded) >= 60:  # two threads load
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        tensor = materialize(*args, **options).clone()
        loaded.append(StorageWeakRef(tensor.untyped_storage()))
        return tensor

    def load(settings: Settings, on_progress: Callable) -> Engine:
        monkeypatch.setattr(core_model_loading, "_materialize_copy", run_out if settings.model == str(single) else materialize)
        num_alive.append(sum(not storage.expired() for storage in loaded))
        return load_engine(settings, on_progress, measure=False)

    provider = EngineProvider(Settings(model=str(tiled), device="cpu"), load)
    provider.start()
    assert provider.wait(60)
    gc.disable()  # else it might be collected by chance
    try:
        provider.switch(str(single))
        assert provider.wait(60)
    finally:
        gc.enable()
    assert provider.status.error.code == "OutOfMemory"
    assert provider.status.key == str(tiled)
    assert len(loaded) >= 60
    assert num_alive == [0, 0, 0]
    provider.engine.close()


@pytest.fixture
def rng_image() -> DecodedImage:
    return DecodedImage.from_pixels(np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8))


class QuietEngine:
    """What the provider asks of an engine, and nothing else."""

    device_name, limits_note, default_system, served_as, layout = "a test", "", "", "", DYNAMIC_PARTITION
    is_away, failure = False, None

    def __init__(self, settings: Settings) -> None:
        self.model_name = settings.model
        self.default_generation = GenerationSettings(max_new_tokens=10 + len(settings.model))
        self.is_closed = False

    def memory_report(self) -> dict[str, int]:
        return {"bytes": 5, "model_bytes": 70}

    def close(self) -> None:
        self.is_closed = True


def quiet_provider() -> EngineProvider:
    provider = EngineProvider(Settings(model="ixc-nano"), lambda settings, _: QuietEngine(settings))
    provider.start()
    assert provider.wait(10)
    return provider


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (Settings(model="nosuch"), "There is no model"),
        (Settings(model="nosuch", backend="http://127.0.0.1:99999"), "IXC_BACKEND must be"),
    ],
    ids=["here", "elsewhere"],
)
def test_who_runs_it_reads_in_the_log_why_there_is_no_model(caplog, settings, why):
    provider = EngineProvider(settings)
    with caplog.at_level(logging.INFO, "ixc"):
        provider.start()
        assert provider.wait(60)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage().startswith(f"model nosuch could not be loaded: {why}")
    assert record.getMessage().endswith(provider.status.error.detail)
    assert record.exc_info is None


def test_every_attempt_that_fails_has_a_line_in_the_log_and_surprises_have_their_own(caplog):
    errors = {"vl-7b": CheckpointError("It is damaged."), "4khd-7b": ValueError("surprise")}

    def load(settings: Settings, _: object) -> QuietEngine:
        if settings.model in errors:
            raise errors[settings.model]
        return QuietEngine(settings)

    provider = EngineProvider(Settings(model="ixc-nano"), load)
    provider.start()
    assert provider.wait(10)
    with caplog.at_level(logging.ERROR, "ixc"):
        for model in ("vl-7b", "vl-7b", "4khd-7b"):
            provider.switch(model)
            assert provider.wait(10)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [*["model vl-7b could not be loaded: It is damaged."] * 2, "unexpected error"]


def test_an_answer_under_way_is_finished_before_its_model_goes():
    provider = quiet_provider()
    with provider.borrowed() as engine:
        provider.switch("vl-7b")
        assert not provider.wait(0.05)
        assert not engine.is_closed
        late: list[str] = []
        asker = threading.Thread(target=lambda: late.append(_borrowed_name(provider)))
        asker.start()
        with pytest.raises(IxcError, match="being loaded"):
            provider.switch("4khd-7b")
        del engine
    asker.join(10)
    assert late == ["vl-7b"]  # who came after the switch is answered by the new model
    assert provider.status.freed.num_bytes == 75


def test_memory_that_something_still_holds_is_not_called_free(monkeypatch):
    monkeypatch.setattr("ixc.application.engine_provider._GONE_WITHIN_S", 0.0)
    provider = quiet_provider()
    held = provider.engine
    provider.switch("vl-7b")
    assert provider.wait(10)
    assert held.is_closed
    assert provider.status.freed.num_bytes == 0


def test_what_the_user_set_survives_a_switch_and_defaults_follow_the_model():
    provider = quiet_provider()
    update = defaults_update(provider, _controls(max_new_tokens=1024))
    assert update[1] == 18  # "ixc-nano" has eight letters
    provider.switch("vl-7b")
    assert provider.wait(10)
    assert defaults_update(provider, _controls(max_new_tokens=18))[1] == 15
    chosen = defaults_update(provider, _controls(max_new_tokens=300))
    assert chosen[1] != 15
    assert chosen[0]["value"] == "vl-7b"


def test_a_page_on_a_network_offers_only_what_its_owner_allows():
    keys = [
        [model.key for model in offered_models(settings)]
        for settings in (
            Settings(),
            Settings(host="0.0.0.0"),
            Settings(host="0.0.0.0", models="vl-7b"),
            Settings(models="vl-7b"),
            replace(Settings(), model="internlm/internlm-xcomposer2-vl-7b", models="vl-7b"),
        )
    ]
    assert {"ixc-nano", "4khd-7b", "vl-7b"} <= set(keys[0])
    assert keys[0][0] == "ixc-nano"
    assert keys[1:] == [["ixc-nano"], ["ixc-nano", "vl-7b"], ["ixc-nano", "vl-7b"], ["internlm/internlm-xcomposer2-vl-7b"]]


@pytest.mark.parametrize("model", ["ixc-nano", "/models/of mine, tuned"])
def test_a_page_that_offers_one_model_offers_its_own_whatever_else_is_set(model):
    for settings in (Settings(model=model), Settings(model=model, models="vl-7b"), Settings(model=model, host="0.0.0.0")):
        assert [offered.key for offered in offered_models(offering_one_model(settings))] == [model]


def _borrowed_name(provider: EngineProvider) -> str:
    with provider.borrowed() as engine:
        return engine.model_name


def _controls(max_new_tokens: int) -> list:
    """The settings' controls as they stand after the first page load, with another answer length."""
    defaults = GenerationSettings()
    return [max_new_tokens, defaults.temperature, defaults.top_p, defaults.repetition_penalty, defaults.num_beams, "", ""]
