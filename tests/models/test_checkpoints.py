"""Loading: what is missing, extra, misshapen or damaged is named; nothing from the folder is executed."""

import json
import shutil
from contextlib import closing

import pytest
import torch
from safetensors.torch import load_file, save_file

from ixc.chat.loading import load_engine
from ixc.errors import CheckpointError
from ixc.models.checkpoints import load_checkpoint
from ixc.models.precision import Precision
from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.settings import Settings
from tests.checkpoints import tiny_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9976634558\n"


def load(folder):
    return load_checkpoint(folder, torch.device("cpu"), Precision.FP32)


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_good_checkpoint_comes_back_whole(folder):
    checkpoint = load(folder)
    expected = tiny_model().state_dict()
    actual = checkpoint.model.state_dict()
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    assert not checkpoint.model.training
    assert checkpoint.processor.image_processor.max_patches == 9
    assert checkpoint.processor.default_system == "Hi"


def test_sharded_checkpoint_loads(good_folder, tmp_path):
    folder = shutil.copytree(good_folder, tmp_path / "sharded", ignore=shutil.ignore_patterns("*.safetensors"))
    tiny_model().save_pretrained(folder, max_shard_size="500KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert load(folder).model.state_dict().keys() == tiny_model().state_dict().keys()
    sorted(folder.glob("*.safetensors"))[1].unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-\d+\.safetensors is missing"):
        load(folder)


def test_missing_tensor_is_named(folder):
    change_weights(folder, lambda weights: weights.pop("plora_glb_GN"))
    with pytest.raises(CheckpointError, match="lacks the tensor plora_glb_GN"):
        load(folder)


def test_extra_tensor_is_named(folder):
    change_weights(folder, lambda weights: weights.update({"model.extra.weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match=r"does not know, model\.extra\.weight"):
        load(folder)


def test_misshapen_tensor_is_named(folder):
    change_weights(folder, lambda weights: weights.update({"vision_proj.0.weight": torch.zeros(96, 64)}))
    with pytest.raises(CheckpointError, match=r"vision_proj\.0\.weight with shape \[96, 64\].*asks for \[96, 128\]"):
        load(folder)


@pytest.mark.parametrize("size", [0, 7, 1000, -1])
def test_half_copied_weights_are_named(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged or incomplete"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "has no weights"),
        ("tokenizer.model", "no tokenizer.model"),
    ],
)
def test_missing_file_is_named(folder, name, message):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_other_model_and_broken_config_are_said_so(folder, tmp_path):
    with pytest.raises(CheckpointError, match="no model folder"):
        load(tmp_path / "nowhere")
    change_config(folder, model_type="llama")
    with pytest.raises(CheckpointError, match="type 'llama'"):
        load(folder)
    change_config(folder, model_type="internlmxcomposer2", hidden_size=97)
    with pytest.raises(CheckpointError, match="not a usable configuration"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", '{"model_type": ["a"]}', r"type \['a'\]"),
        ("config.json", "[" * 200_000, r"config\.json cannot be read: it is nested too deep"),
        ("config.json", POINTER, r"config\.json is not the file itself but a git-lfs pointer"),
        ("generation_config.json", "[" * 200_000, r"generation_config\.json is not a usable configuration"),
        ("tokenizer.model", POINTER, r"tokenizer\.model is not the file itself but a git-lfs pointer"),
        ("generation_config.json", "{broken", r"generation_config\.json is not a usable configuration"),
        ("generation_config.json", "[]", r"generation_config\.json is not a usable configuration"),
        ("tokenizer.model", "broken", "tokenizer or processor in"),
        ("processor_config.json", "[]", "tokenizer or processor in"),
    ],
)
def test_a_broken_file_is_found_before_the_weights_are_read(folder, monkeypatch, name, text, message):
    monkeypatch.setattr(XComposer2ForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("the weights were read"))
    (folder / name).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu_9000"}, "not a usable configuration"),
        ({"plora_rank": 0}, "not a usable configuration"),
        ({"pad_token_id": 10**6}, "not a usable configuration"),
        ({"num_hidden_layers": 10**8}, "asks for 1000000\\d\\d layers; the files do not belong together"),
    ],
)
def test_a_configuration_that_no_model_can_be_built_from_is_said_so(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


@pytest.mark.parametrize("kernels", ["flash_attention_2", "someone/their-kernels"])
@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_the_folder_does_not_choose_what_attends(folder, name, kernels):
    """The official file asks for flash-attn, which need not be there; transformers takes other names for code on the Hub."""
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    change_config(folder, **{name: kernels}, vision_config=vision | {name: kernels})
    model = load(folder).model
    assert model.config._attn_implementation == model.vit.clip.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["quantization_config", "compression_config"])
@pytest.mark.parametrize("value", [{"quant_method": "bitsandbytes", "load_in_4bit": True}, {"quant_method": "fp8"}, "x"])
def test_weights_that_another_program_quantised_are_said_so(folder, name, value):
    change_config(folder, **{name: value})
    with pytest.raises(CheckpointError, match=rf"quantised \({name}\).*set IXC_PRECISION=int8 or int4\.$"):
        load(folder)


def test_the_folder_does_not_choose_how_it_is_loaded(folder):
    change_config(folder, fusion_config={"a": 1}, transformers_weights="other.safetensors", quantization_config=None)
    actual = load(folder).model.state_dict()
    assert all(torch.equal(actual[name], tensor) for name, tensor in tiny_model().state_dict().items())


def test_what_transformers_says_it_loaded_otherwise_is_refused(folder, monkeypatch):
    """As if its way of choosing files were another one some day."""
    real = XComposer2ForCausalLM.from_pretrained
    other = folder.parent / "other"
    shutil.copytree(folder, other)
    change_weights(other, lambda weights: weights.pop("plora_glb_GN"))
    monkeypatch.setattr(XComposer2ForCausalLM, "from_pretrained", lambda _, **options: real(other, **options))
    with pytest.raises(CheckpointError, match=r"not loaded as they are \(missing keys: plora_glb_GN\)"):
        load(folder)


def test_a_checkpoint_may_want_more_than_a_user_may_ask_for(folder, caplog):
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"max_new_tokens": 8192, "repetition_penalty": 1.01, "do_sample": False}))
    with closing(load_engine(Settings(model=str(folder), device="cpu"), measure=False)) as engine:
        assert engine.default_generation.max_new_tokens == 4096
        assert engine.default_generation.repetition_penalty == 1.01
    assert "max_new_tokens=8192, taken as 4096" in caplog.text


def test_code_named_by_the_folder_is_never_run(folder):
    (folder / "modeling_evil.py").write_text("raise SystemExit('code from the checkpoint ran')")
    change_config(folder, auto_map={"AutoConfig": "modeling_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"})
    assert isinstance(load(folder).model, XComposer2ForCausalLM)
