"""INF-LLaVA checkpoints through the same loading as the others: our layout, the official one, and what does not fit."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ixc.errors import CheckpointError
from ixc.models.checkpoints import load_checkpoint
from ixc.models.inf_llava import InfLlavaForCausalLM
from tests.inf_checkpoints import REFERENCE, SPECIALS, stub_tokenizer, write_inf_checkpoint

CPU = torch.device("cpu")


def write_official(folder):
    """Pickled shards, LLaVA's flat config.json with its ``mm_`` fields, a tokenizer.json, no processor."""
    tiny = json.loads((REFERENCE / "tiny_config.json").read_text())
    config = {**tiny["text"], "model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"], "torch_dtype": "float32"}
    config |= {"vision_config": tiny["vision"], "mm_vision_tower": "openai/clip-vit-large-patch14-336"}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(REFERENCE / "tiny_model.safetensors")
    names = sorted(weights)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for shard, own in shards.items():
        torch.save({name: weights[name] for name in own}, folder / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, own in shards.items() for name in own}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    stub_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    special = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIALS[0], "eos_token": SPECIALS[3]}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    return folder


@pytest.mark.parametrize("write", [write_inf_checkpoint, write_official])
def test_a_checkpoint_loads_whole(tmp_path, write):
    checkpoint = load_checkpoint(write(tmp_path), CPU)
    assert isinstance(checkpoint.model, InfLlavaForCausalLM)
    for name, tensor in load_file(REFERENCE / "tiny_model.safetensors").items():
        assert torch.equal(checkpoint.model.state_dict()[name], tensor), name
    processor = checkpoint.processor
    assert processor.chat_format.turn_end == "<|eot_id|>"
    assert processor.tokenizer("a")["input_ids"] == [256, 97]
    assert processor.tokenizer.token_bytes(97) == b"a"


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("vision", "hidden_size", 64),
        ("text", "intermediate_size", 100),
    ],
)
def test_a_part_that_does_not_fit_is_named(tmp_path, part, key, value):
    folder = write_inf_checkpoint(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (config["vision_config"] if part == "vision" else config)[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    named = "vision_tower|spatial_embed|mm_projector" if part == "vision" else "layers.0.mlp"
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(folder, CPU)


def test_a_missing_vision_tower_is_named(tmp_path):
    folder = write_inf_checkpoint(tmp_path)
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if "vision_tower" not in k}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks the tensor model\.vision_tower"):
        load_checkpoint(folder, CPU)


def test_another_architecture_is_named_with_those_that_run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    with pytest.raises(CheckpointError, match=r"'qwen2_vl'.*InternLM-XComposer2.*INF-LLaVA"):
        load_checkpoint(tmp_path, CPU)
