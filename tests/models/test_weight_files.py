"""Weight files: what was checked is what is loaded, and whatever is wrong with one is a sentence that names it."""

import json
import random
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from ixc.errors import CheckpointError
from ixc.models.checkpoints import load_checkpoint
from ixc.models.precision import Precision
from ixc.models.weight_files import read_shapes, weight_files
from tests.checkpoints import tiny_model
from tests.models.test_checkpoints import POINTER
from tests.models.test_official_layout import write_pickled

INDEX = "model.safetensors.index.json"


def load(folder):
    return load_checkpoint(folder, torch.device("cpu"), Precision.FP32)


def holds_the_tiny_model(checkpoint):
    actual = checkpoint.model.state_dict()
    return all(torch.equal(actual[name], tensor) for name, tensor in tiny_model().state_dict().items())


@pytest.fixture
def sharded(folder):
    """Good shards with their index, and no single file."""
    (folder / "model.safetensors").unlink()
    tiny_model().save_pretrained(folder, max_shard_size="500KB")
    assert (folder / INDEX).is_file()
    return folder


def test_a_part_of_the_model_beside_good_shards_is_not_filled_with_noise(sharded, caplog):
    """transformers reads the single file and makes up what it lacks; the shards, which are whole, must not vouch for it."""
    weights = tiny_model().state_dict()
    save_file({name: weights[name] for name in list(weights)[:10]}, sharded / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks the tensor|asks for"):
        load(sharded)
    assert f"has both model.safetensors and {INDEX}" in caplog.text
    (sharded / "model.safetensors").unlink()
    assert holds_the_tiny_model(load(sharded))


def test_a_whole_file_beside_broken_shards_is_the_one_that_is_loaded(sharded):
    save_file(tiny_model().state_dict(), sharded / "model.safetensors", metadata={"format": "pt"})
    next(sharded.glob("model-00001-*")).write_bytes(b"broken")
    assert holds_the_tiny_model(load(sharded))


def test_pickled_files_are_chosen_likewise(folder):
    (folder / "model.safetensors").unlink()
    weights = tiny_model().state_dict()
    write_pickled(folder, weights)
    assert holds_the_tiny_model(load(folder))
    torch.save({name: weights[name] for name in list(weights)[:10]}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"lacks the tensor|asks for"):
        load(folder)


@pytest.mark.parametrize(
    "index",
    [
        {"metadata": {}, "weight_map": {"model.norm.weight": "../elsewhere.safetensors"}},
        {"metadata": {}, "weight_map": {"model.norm.weight": "pytorch_model.bin"}},
        {"metadata": {}, "weight_map": {}},
        {"metadata": {}, "weight_map": {"model.norm.weight": 3}},
        {"metadata": {}, "weight_map": {"model.norm.weight": 3, "output.weight": "a.safetensors"}},
        {"weight_map": {"model.norm.weight": "model.safetensors"}},
        {"metadata": {}, "weight_map": ["model.safetensors"]},
        None,
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(folder, index):
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    (folder / INDEX).write_text(json.dumps(index) if index else "[" * 200_000)
    with pytest.raises(CheckpointError, match=r"index\.json (is damaged|names weights outside its folder)"):
        load(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "shard-00000-model-00001-of-00002.safetensors"])
def test_what_would_be_read_besides_the_weights_is_refused(folder, name):
    (folder / name).write_text("{}")
    with pytest.raises(CheckpointError, match=r"adapter|distributed"):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", INDEX, "pytorch_model.bin"])
def test_a_pointer_that_git_lfs_left_is_called_so(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match=r"git-lfs pointer to it; run git lfs pull in the folder, or download the file"):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.complex64])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_only_floating_point_weights_are_weights(tmp_path, dtype, suffix):
    path = tmp_path / f"model{suffix}"
    tensors = {"a.weight": torch.ones(2, 2), "b.weight": torch.ones(2, 2).to(dtype)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    with pytest.raises(CheckpointError, match=r"holds b\.weight as \w+, and weights must be dense F64, F32, F16, BF16"):
        read_shapes([path])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_every_common_float_is_a_weight(tmp_path, dtype, suffix):
    path, tensors = tmp_path / f"model{suffix}", {"a.weight": torch.ones(2, 3, dtype=dtype)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    assert read_shapes([path]) == {"a.weight": (2, 3)}


@pytest.mark.parametrize(
    "content",
    [
        {"a": 1},
        [1],
        torch.ones(2),
        {0: torch.ones(1)},
        {"state_dict": {"a": torch.ones(1)}},
        {"a": None},
        {"a": torch.ones(2, 2).to_sparse()},
    ],
    ids=lambda content: str(type(content).__name__),
)
def test_a_pickle_of_anything_but_tensors_is_refused(tmp_path, content):
    path = tmp_path / "pytorch_model.bin"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        read_shapes([path])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_with_wrong_bytes_is_read_or_refused_and_nothing_else(tmp_path, is_zip):
    """Each of 300 with one byte changed in its program; in the zip file with the right checksum, as a faulty writer would."""
    path, rng = tmp_path / "pytorch_model.bin", random.Random(1)
    torch.save({f"layer{i}.weight": torch.ones(4, 4) for i in range(4)}, path, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    parts = {}
    if is_zip:
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
    program = next((name for name in parts if name.endswith("data.pkl")), None)
    num_refused = 0
    for _ in range(300):
        damaged = bytearray(parts[program] if is_zip else whole)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if is_zip:
            with zipfile.ZipFile(path, "w") as file:
                for name, part in parts.items():
                    file.writestr(name, bytes(damaged) if name == program else part)
        else:
            path.write_bytes(damaged)
        try:
            read_shapes([path])
        except CheckpointError:
            num_refused += 1
    assert 100 < num_refused < 300


def test_the_names_of_files_that_are_not_there_are_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"no weights \(model\.safetensors or model\.safetensors\.index\.json or"):
        weight_files(tmp_path)


def test_the_tiny_models_own_file_is_the_reference(folder):
    assert read_shapes(weight_files(folder)) == {
        name: tuple(tensor.shape) for name, tensor in load_file(folder / "model.safetensors").items()
    }
