"""A small checkpoint in the official repository's layout: pickled shards, flat config.json, tokenizer.model, code files."""

import json
import resource
import shutil

import pytest
import torch
from safetensors.torch import load_file

from ixc.cli import main
from ixc.errors import CheckpointError
from ixc.models.checkpoints import load_checkpoint
from ixc.models.conversion import convert_checkpoint
from ixc.models.precision import Precision
from tests.checkpoints import DATA, REFERENCE, TOKENIZER_FILE, tiny_model

CPU = torch.device("cpu")
SHARDS = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")


def official_config() -> dict:
    """The official fields, kernels and auto_map, and what the official code hard-codes and a small model must change."""
    config = json.loads((REFERENCE / "config.json").read_text())
    hard_coded = config.pop("_tiny_parameters_hard_coded_in_the_official_code")
    return config | {
        "attn_implementation": "flash_attention_2",
        "auto_map": {
            "AutoConfig": "configuration_internlm_xcomposer2.InternLMXcomposer2Config",
            "AutoModelForCausalLM": "modeling_internlm_xcomposer2.InternLMXComposer2ForCausalLM",
        },
        "plora_rank": hard_coded["plora_r"],
        "plora_alpha": hard_coded["plora_alpha"],
        "vision_config": hard_coded["tiny_clip"],
    }


def write_pickled(folder, weights):
    """Two shards with the index, as the official repository has them."""
    names = sorted(weights)
    shards = {SHARDS[0]: names[: len(names) // 2], SHARDS[1]: names[len(names) // 2 :]}
    for shard, keys in shards.items():
        torch.save({key: weights[key] for key in keys}, folder / shard)
    index = {"metadata": {"total_size": 0}, "weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "official"
    folder.mkdir()
    weights = load_file(REFERENCE / "weights.safetensors")
    write_pickled(folder, {name: tensor.bfloat16() for name, tensor in weights.items()})
    (folder / "config.json").write_text(json.dumps(official_config()))
    shutil.copy(TOKENIZER_FILE, folder)
    added = json.loads((DATA / "tokenizer" / "golden_tokenizer.json").read_text())["added_tokens_json_of_the_hf_repo"]
    (folder / "added_tokens.json").write_text(json.dumps(added))
    tokenizer_config = {
        "tokenizer_class": "InternLMXComposer2Tokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization.X", None]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    for module in ("modeling_internlm_xcomposer2", "configuration_internlm_xcomposer2", "tokenization"):
        (folder / f"{module}.py").write_text("raise SystemExit('code from the checkpoint ran')")
    return folder


def test_loads_to_the_wanted_dtype_with_the_reference_semantics(folder):
    checkpoint = load_checkpoint(folder, CPU, Precision.FP32)
    expected = {name: tensor.bfloat16().float() for name, tensor in tiny_model().state_dict().items()}
    actual = checkpoint.model.state_dict()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    assert checkpoint.model.config.max_context_tokens == 16384
    assert checkpoint.model.config.use_cache
    assert checkpoint.processor.image_processor.max_patches == 25
    assert checkpoint.processor.default_system.startswith("You are an AI assistant whose name is InternLM-XComposer")
    assert max(checkpoint.processor.tokenizer("<|im_start|>")["input_ids"]) < 92544
    assert load_checkpoint(folder, CPU, Precision.BF16).model.dtype == torch.bfloat16


class Evil:
    """Unpickling this in full would call print; weights-only unpickling must refuse it."""

    def __reduce__(self):
        return print, ("code from the checkpoint ran",)


def test_a_malicious_pickle_is_refused_unrun(folder, capsys):
    torch.save({"model.norm.weight": Evil()}, folder / SHARDS[1])
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.bin is damaged or holds more than tensors"):
        load_checkpoint(folder, CPU)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("size", [0, 100, -100])
def test_half_downloaded_shard_is_named(folder, size):
    path = folder / SHARDS[0]
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"00001-of-00002\.bin is damaged"):
        load_checkpoint(folder, CPU)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"00001-of-00002\.bin is missing"):
        load_checkpoint(folder, CPU)


def test_missing_tensor_in_a_shard_is_named(folder):
    shard = torch.load(folder / SHARDS[1], weights_only=True)
    name = sorted(shard)[0]
    del shard[name]
    torch.save(shard, folder / SHARDS[1])
    with pytest.raises(CheckpointError, match=f"lacks the tensor {name}"):
        load_checkpoint(folder, CPU)


def test_conversion_keeps_every_tensor_and_loads_the_same(folder, tmp_path):
    target, progress = tmp_path / "converted", []
    written = convert_checkpoint(folder, target, lambda done, total: progress.append((done, total)))
    assert progress == [(1, 2), (2, 2)]
    tensors = {name: tensor for path in written for name, tensor in load_file(path).items()}
    pickled = {name: tensor for shard in SHARDS for name, tensor in torch.load(folder / shard, weights_only=True).items()}
    assert tensors.keys() == pickled.keys()
    assert all(torch.equal(tensors[name], pickled[name]) and tensors[name].dtype == torch.bfloat16 for name in tensors)
    assert not list(target.glob("*.py"))
    original, converted = load_checkpoint(folder, CPU, Precision.FP32), load_checkpoint(target, CPU, Precision.FP32)
    expected, actual = original.model.state_dict(), converted.model.state_dict()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    configs = [checkpoint.model.config.to_dict() for checkpoint in (original, converted)]
    assert {**configs[0], "_name_or_path": ""} == {**configs[1], "_name_or_path": ""}
    with pytest.raises(CheckpointError, match="not empty"):
        convert_checkpoint(folder, target)


def test_a_copy_that_there_is_no_room_for_is_said_in_a_sentence(folder, tmp_path, capsys):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # the kernel refuses more, as a full disk does
    try:
        assert main(["convert", str(folder), str(tmp_path / "converted")]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "make room, delete it and start again." in capsys.readouterr().err
