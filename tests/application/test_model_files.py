"""What surely does not fit is refused before it is downloaded or loaded, in a sentence; and a choice says what it downloads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from huggingface_hub import constants

from ixc.application.model_files import ModelTooLarge, bytes_to_download, check_memory, fetch_model
from ixc.errors import CheckpointError, SettingsError
from ixc.models.xcomposer2 import XComposer2Config
from ixc.settings import Settings
from ixc.ui.settings_panel import model_choices
from tests.models.hub import COMMIT, REPOSITORY, DownloadHub

WEIGHTS_OF_THE_7B = 8_597_499_904
"""As test_precision counts them by hand."""


@pytest.fixture(scope="module")
def seven_b(tmp_path_factory) -> Path:
    """The 7B's folder without its weights."""
    folder = tmp_path_factory.mktemp("7b")
    XComposer2Config().save_pretrained(folder)
    return folder


@pytest.fixture
def machine(monkeypatch) -> SimpleNamespace:
    """One whose memory can be set."""
    free = SimpleNamespace(memory=0, swap=0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=free.memory, available=free.memory))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=free.swap))
    return free


def test_what_is_needed_and_what_there_is_is_said(seven_b, machine):
    machine.memory = 9_000_000_000
    with pytest.raises(ModelTooLarge) as caught:
        check_memory(Settings(device="cpu"), "The 7B", seven_b, 100_000_000)
    assert str(caught.value) == (
        "The weights of The 7B take 17.2 GB of memory and this machine has 9.0 GB for them; set IXC_PRECISION=int8 or int4, or "
        "choose a smaller model."
    )


@pytest.mark.parametrize("part", ["memory", "swap"])
def test_all_that_could_be_theirs_is_counted(seven_b, machine, part):
    for num_bytes, fits in ((2 * WEIGHTS_OF_THE_7B, True), (2 * WEIGHTS_OF_THE_7B - 1, False)):
        vars(machine)[part] = num_bytes
        if fits:
            check_memory(Settings(device="cpu"), "The 7B", seven_b, 0)
        else:
            with pytest.raises(ModelTooLarge):
                check_memory(Settings(device="cpu"), "The 7B", seven_b, 0)


def test_a_smaller_format_is_smaller(seven_b, machine):
    machine.memory = 11_000_000_000  # README: 10.2 GB in int8
    check_memory(Settings(device="cpu", precision="int8"), "The 7B", seven_b, 0)
    machine.memory = 6_000_000_000
    with pytest.raises(ModelTooLarge, match=r"take 6.9 GB .* has 6.0 GB for them; choose a smaller model\.$"):
        check_memory(Settings(device="cpu", precision="int4"), "The 7B", seven_b, 0)
    check_memory(Settings(device="split", offload_folder="/somewhere"), "The 7B", seven_b, 0)  # a disk has room
    with pytest.raises(ModelTooLarge):
        check_memory(Settings(device="split", max_memory="cpu=5GB"), "The 7B", seven_b, 10**12)


def test_what_no_model_can_be_built_from_is_left_to_loading(seven_b, machine, tmp_path):
    config = json.loads((seven_b / "config.json").read_text())
    for wrong in ({"num_hidden_layers": 10**8}, {"hidden_act": "unheard-of"}):
        (tmp_path / "config.json").write_text(json.dumps(config | wrong))
        check_memory(Settings(device="cpu"), "Odd", tmp_path, 0)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="model of type None"):
        check_memory(Settings(device="cpu"), "Odd", tmp_path, 0)


def test_a_setting_that_is_wrong_is_told_before_a_download():
    for settings in (Settings(decode="sideways"), Settings(precision="int3"), Settings(device="tpu")):
        with pytest.raises(SettingsError):
            fetch_model(Settings(model=REPOSITORY, **_changed(settings)), 0, lambda *_: None)


def _changed(settings: Settings) -> dict:
    return {name: getattr(settings, name) for name in ("decode", "precision", "device")}


PROGRAM = """
import sys
from types import SimpleNamespace
import psutil
from ixc.application.model_files import fetch_model
from ixc.errors import IxcError
from ixc.settings import Settings
psutil.swap_memory = lambda: SimpleNamespace(total=0)
for free_bytes in sys.stdin:
    psutil.virtual_memory = lambda: SimpleNamespace(total=int(free_bytes))
    shares = []
    try:
        fetch_model(Settings(model=sys.argv[1], device="cpu"), 0, lambda step, share: shares.append(share))
        print("fetched", shares[-1], flush=True)
    except IxcError as error:
        print(type(error).__name__, error, flush=True)
"""


def test_what_does_not_fit_is_not_downloaded(seven_b, tmp_path):
    hub = DownloadHub({"config.json": (seven_b / "config.json").read_bytes(), "model.safetensors": b"0" * 2_000_000})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", PROGRAM, REPOSITORY]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        too_late = threading.Timer(120, process.kill)
        too_late.start()

        def told_with(free_bytes: int) -> str:
            print(free_bytes, file=process.stdin, flush=True)
            return process.stdout.readline()

        try:
            assert told_with(9_000_000_000) == (
                f"ModelTooLarge The weights of {REPOSITORY} take 17.2 GB of memory and this machine has 9.0 GB for them; "
                "set IXC_PRECISION=int8 or int4, or choose a smaller model.\n"
            )
            assert {name for _, name in hub.requests} == {"config.json"}
            assert not list((tmp_path / "hf").rglob("snapshots"))  # the Hub's cache has not heard of it
            assert told_with(18_000_000_000) == "fetched 1.0\n"
        finally:
            too_late.cancel()
            process.stdin.close()
            hub.close()
    assert process.returncode == 0


def test_a_choice_says_what_is_still_to_be_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    blobs = tmp_path / "models--internlm--internlm-xcomposer2-4khd-7b" / "blobs"
    settings = Settings(models="4khd-7b,someone/small-model,inf-nano")

    def title() -> str:
        return {key: title for title, key in model_choices(settings)}["4khd-7b"]

    assert title() == "InternLM-XComposer2-4KHD 7B (17.2 GB to download)"
    blobs.mkdir(parents=True)
    for name, num_bytes in (("one", 10_000_000_000), ("two.ixc-partial", 3_000_000_000)):
        with (blobs / name).open("wb") as file:
            file.truncate(num_bytes)  # takes no room on the disk
    (tmp_path / "models--internlm--internlm-xcomposer2-4khd-7b" / "link").symlink_to(blobs / "one")
    assert title() == "InternLM-XComposer2-4KHD 7B (4.2 GB to download)"
    with (blobs / "two.ixc-partial").open("wb") as file:
        file.truncate(7_195_000_000)
    assert title() == "InternLM-XComposer2-4KHD 7B"
    here = [bytes_to_download(settings, model) for model in ("inf-nano", "nosuch")]
    assert here == [0, 0]
    backend = Settings(model="4khd-7b", backend="http://127.0.0.1:9", models="4khd-7b")
    assert [title for title, _ in model_choices(backend)] == ["Another server"]  # its models are its own affair


def test_a_download_whose_size_nobody_knows_is_said_too(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    settings = Settings(models=f"inf-llava-8b,{REPOSITORY},no--such/name")

    def titles() -> list[str]:
        return [title for title, key in model_choices(settings) if key != settings.model]

    assert titles() == ["INF-LLaVA 8B (to download)", f"{REPOSITORY} (to download)", "no--such/name (to download)"]
    folder = tmp_path / f"models--{REPOSITORY.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = {"metadata": {}, "weight_map": {"a": shards[0], "b": shards[1]}}
    for name, text in (("config.json", "{}"), ("model.safetensors.index.json", json.dumps(index)), (shards[0], "half of it")):
        assert titles()[1] == f"{REPOSITORY} (to download)"
        (snapshot / name).write_text(text)
    assert titles()[1] == f"{REPOSITORY} (to download)"
    (snapshot / shards[1]).write_text("the other half")
    assert titles()[1] == REPOSITORY
