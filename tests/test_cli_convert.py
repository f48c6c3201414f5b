"""``ixc convert`` as a user meets it, on a checkpoint in the official layout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ixc.cli import main
from tests.checkpoints import REFERENCE, TOKENIZER_FILE
from tests.models.hub import REPOSITORY, DownloadHub
from tests.models.test_official_layout import official_config, write_pickled

ROOT = Path(__file__).parents[1]
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture(scope="module")
def weights():
    return {name: tensor.bfloat16() for name, tensor in load_file(REFERENCE / "weights.safetensors").items()}


@pytest.fixture
def official(tmp_path, weights) -> Path:
    folder = tmp_path / "official"
    folder.mkdir()
    write_pickled(folder, weights)
    (folder / "config.json").write_text(json.dumps(official_config()))
    shutil.copy(TOKENIZER_FILE, folder)
    return folder


@pytest.fixture
def failure(capsys):
    """Run a command that must fail in one line, and give that line."""

    def run_and_read(*args: object) -> str:
        assert main(["convert", *map(str, args)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("ixc: ")
        assert err.count("\n") == 1
        return err.removeprefix("ixc: ").rstrip()

    return run_and_read


def test_a_copy_holds_the_same_tensors_and_loads(official, weights, capsys, tmp_path):
    from ixc.chat.loading import load_engine
    from ixc.settings import Settings

    target = tmp_path / "new" / "copy"
    assert main(["convert", str(official), str(target)]) == 0
    out, err = capsys.readouterr()
    assert [line.split(" (")[0] for line in out.splitlines()] == [f"wrote {target / name}" for name in SHARDS]
    assert err == ""
    tensors = load_file(target / SHARDS[0]) | load_file(target / SHARDS[1])
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[name], weights[name]) for name in weights)
    assert not list(target.glob("*.bin"))
    load_engine(Settings(model=str(target))).close()


def test_progress_is_shown_file_by_file(official, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["convert", str(official), str(tmp_path / "copy")]) == 0
    shown = capsys.readouterr().err
    stages = ["Checking the checkpoint", "Copied 1 of 2 weight files", "Copied 2 of 2 weight files"]
    places = [shown.index(stage) for stage in stages]
    assert places == sorted(places)


def test_mistakes_are_found_before_anything_is_loaded_or_downloaded(failure, monkeypatch, official, tmp_path):
    monkeypatch.setitem(sys.modules, "ixc.models.conversion", None)  # importing it now fails
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    assert failure(official, tmp_path / "full") == f"The folder {tmp_path / 'full'} is not empty; give a new one."
    assert failure(official, tmp_path / "full" / "mine.txt").endswith("mine.txt is a file; give a new folder.")
    assert failure(official, tmp_path / ("a" * 300)).endswith("cannot be used: File name too long; give another folder.")


def test_a_source_that_is_none(failure, tmp_path):
    assert failure("no-such-model", tmp_path / "copy").startswith("There is no model 'no-such-model'; give a checkpoint folder")
    (tmp_path / "empty").mkdir()
    assert (
        failure(tmp_path / "empty", tmp_path / "copy")
        == f"{tmp_path / 'empty'} has no config.json; it is not a checkpoint folder."
    )
    assert not (tmp_path / "copy").exists()


def test_a_damaged_shard_is_named_and_nothing_is_written(failure, official, tmp_path):
    shard = official / "pytorch_model-00002-of-00002.bin"
    shard.write_bytes(shard.read_bytes()[:1000])
    assert "pytorch_model-00002-of-00002.bin is damaged or incomplete" in failure(official, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("form", ["tied", "cut from one", "parameters"])
def test_tensors_that_share_memory_are_copied_each_for_itself(official, weights, form, tmp_path):
    if form == "cut from one":
        whole = torch.cat([tensor.flatten() for tensor in weights.values()])
        parts = whole.split([tensor.numel() for tensor in weights.values()])
        written = {name: part.view(weights[name].shape) for name, part in zip(weights, parts, strict=True)}
    elif form == "tied":
        written = weights | {"output.weight": weights["model.tok_embeddings.weight"]}
    else:
        written = {name: torch.nn.Parameter(tensor) for name, tensor in weights.items()}
    write_pickled(official, written)
    assert main(["convert", str(official), str(tmp_path / "copy")]) == 0
    tensors = load_file(tmp_path / "copy" / SHARDS[0]) | load_file(tmp_path / "copy" / SHARDS[1])
    assert all(torch.equal(tensors[name], written[name]) for name in written)


def test_what_cannot_be_copied_leaves_nothing(failure, monkeypatch, official, tmp_path):
    """The second shard is lost between the check and the copy."""
    from ixc.models import conversion

    read = conversion._read

    def read_the_first(path: Path) -> dict:
        if "00001" in path.name:
            return read(path)
        raise RuntimeError("PytorchStreamReader failed reading file data/3: file read failed\nmore")

    monkeypatch.setattr(conversion, "_read", read_the_first)
    message = failure(official, tmp_path / "copy")
    assert message.endswith(
        "pytorch_model-00002-of-00002.bin cannot be copied: PytorchStreamReader failed reading file data/3: file read failed."
    )
    assert not (tmp_path / "copy").exists()


def test_a_sparse_tensor_is_named_and_nothing_is_written(failure, official, weights, tmp_path):
    write_pickled(official, weights | {"output.weight": weights["output.weight"].to_sparse()})
    assert "holds output.weight as sparse_coo" in failure(official, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_disk_that_is_full(failure, monkeypatch, official, tmp_path):
    def fail(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("ixc.models.conversion.convert_checkpoint", fail)
    message = failure(official, tmp_path / "copy")
    assert (
        message == f"{tmp_path / 'copy'} could not be written: No space left on device; make room, delete it and start again."
    )


def test_ctrl_c_says_that_the_copy_is_incomplete(capsys, monkeypatch, official, tmp_path):
    from ixc.models import conversion

    convert = conversion.convert_checkpoint

    def interrupted(source, target, on_file):
        def stop(done: int, num: int) -> None:
            on_file(done, num)
            raise KeyboardInterrupt

        return convert(source, target, stop)

    monkeypatch.setattr("ixc.models.conversion.convert_checkpoint", interrupted)
    assert main(["convert", str(official), str(tmp_path / "copy")]) == 130
    assert capsys.readouterr().err == f"stopped: {tmp_path / 'copy'} is incomplete; delete it before you start again\n"


def test_a_model_on_the_hub_is_downloaded_and_copied(official, tmp_path):
    hub = DownloadHub({path.name: path.read_bytes() for path in official.iterdir()})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    try:
        command = [sys.executable, "-m", "ixc", "convert", REPOSITORY, str(tmp_path / "copy")]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    finally:
        hub.close()
    assert done.returncode == 0, done.stderr
    assert {*SHARDS, "config.json", "tokenizer.model"} <= {path.name for path in (tmp_path / "copy").iterdir()}
