"""Number formats by name, and int8 weights that leave Partial LoRA alone."""

import re
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights

from ixc.chat.loading import load_engine
from ixc.errors import SettingsError
from ixc.models.attention import attention_implementation
from ixc.models.checkpoints import load_checkpoint
from ixc.models.precision import Precision, check_precision, load_dtype, parse_precision, quantise, weight_bytes
from ixc.models.xcomposer2 import VisualSpans, XComposer2Config, XComposer2ForCausalLM
from ixc.models.xcomposer2.language import PLoRALinear
from ixc.settings import Settings
from tests.checkpoints import tiny_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_without_torchao_it_says_what_to_install(monkeypatch, precision):
    """The version that the project is tested with; another one may lack what is imported."""
    for name in ("torchao", "torchao.quantization"):
        monkeypatch.setitem(sys.modules, name, None)
    pins = (Path(__file__).parents[2] / "requirements-gpu.txt").read_text(encoding="utf-8").split()
    (pin,) = [pin for pin in pins if pin.startswith("torchao==")]
    with pytest.raises(SettingsError, match=f"pip install {re.escape(pin)}[^0-9.]"):
        quantise(tiny_model(), precision, CPU)


def test_names_and_defaults():
    assert parse_precision("int8") is Precision.INT8
    with pytest.raises(SettingsError, match="one of auto, bf16, fp16, fp32, int8, int4, not '4bit'"):
        parse_precision("4bit")
    assert load_dtype(Precision.FP16, CPU, 1) == torch.float16
    assert load_dtype(Precision.AUTO, CPU, 10**6) == torch.float32
    assert load_dtype(Precision.AUTO, CPU, 8 * 10**9) == torch.bfloat16


def test_on_a_gpu_without_bf16_it_is_fp16(monkeypatch):
    """As PyTorch would say it of a GPU of 2018 and of one of 2020; flash-attn has no kernels for the first."""
    gpu = torch.device("cuda")
    monkeypatch.setattr("ixc.models.attention.is_flash_attn_2_available", lambda: True)
    for has_bf16, capability, dtype, attention in (
        (False, (7, 5), torch.float16, "sdpa_with_repeated_keys"),
        (True, (8, 0), torch.bfloat16, "flash_attention_2"),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, has_bf16=has_bf16: (8, 0) if has_bf16 else (7, 5))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        assert load_dtype(Precision.AUTO, gpu, 8 * 10**9) == dtype
        assert attention_implementation(gpu, dtype) == attention
        assert attention_implementation(gpu, torch.float32) == "sdpa_with_repeated_keys"  # no flash kernel takes it
    monkeypatch.setattr("ixc.models.attention.is_flash_attn_2_available", lambda: False)
    assert attention_implementation(gpu, torch.bfloat16) == "sdpa"
    assert attention_implementation(CPU, torch.bfloat16) == "sdpa"


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_a_gpu_without_bf16_takes_no_small_weights(monkeypatch, precision, tmp_path):
    """int8's sums would overflow there in fp16. Said before anything is read: the folder is empty."""
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(
        SettingsError, match=rf"{precision} needs .* 8\.0 or newer and this one has 7\.5; set IXC_PRECISION=fp16"
    ):
        load_checkpoint(tmp_path, gpu, precision)
    check_precision(Precision.FP16, gpu)
    check_precision(precision, CPU)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    check_precision(precision, gpu)


needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="pip install torchao, see requirements-gpu.txt")


@needs_torchao
@torch.no_grad()
def test_int8_rounds_the_linears_by_row_and_nothing_else():
    """The oracle quantises by hand: each row to whole steps of its largest magnitude / 127.5, within one step."""
    model, exact = tiny_model(), tiny_model()
    quantise(model, Precision.INT8, CPU)
    for (name, module), original in zip(model.named_modules(), exact.modules(), strict=True):
        if isinstance(module, PLoRALinear):
            step = original.weight.abs().amax(1, keepdim=True) / 127
            rounded = module(torch.eye(original.in_features)[None])[0].T  # its columns, however they are stored
            assert ((rounded - original.weight).abs() <= step).all(), name
            assert (rounded != original.weight).any(), name
    kept = {name: p for name, p in exact.named_parameters() if "Plora_" in name or not name.startswith("model.layers")}
    actual = dict(model.named_parameters())
    assert all(torch.equal(actual[name], parameter) for name, parameter in kept.items())


@needs_torchao
@torch.no_grad()
def test_int4_rounds_the_linears_by_groups_and_nothing_else():
    """The oracle: in each group of 32 (96 and 160 are no multiples of 64) 16 levels from the smallest weight to the largest, so
    that no weight moves by more than a step, and few distinct values are left."""
    model, exact = tiny_model().bfloat16(), tiny_model().bfloat16()
    quantise(model, Precision.INT4, CPU)
    for (name, module), original in zip(model.named_modules(), exact.modules(), strict=True):
        if isinstance(module, PLoRALinear):
            groups = original.weight.float().unflatten(1, (-1, 32))
            step = (groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)) / 15
            rounded = module(torch.eye(original.in_features, dtype=torch.bfloat16)[None])[0].T.float().unflatten(1, (-1, 32))
            assert ((rounded - groups).abs() <= 1.1 * step).all(), name
            assert max(len(group.unique()) for group in rounded.flatten(0, 1)) <= 16, name
    kept = {name: p for name, p in exact.named_parameters() if "Plora_" in name or not name.startswith("model.layers")}
    actual = dict(model.named_parameters())
    assert all(torch.equal(actual[name], parameter) for name, parameter in kept.items())


def test_weight_bytes_of_the_7b_by_hand():
    """Linears of 32 layers: 4096 x (6144 + 4096) + 3 x 4096 x 14336 = 218,103,808 weights a layer."""
    with init_empty_weights():
        model = XComposer2ForCausalLM(XComposer2Config())
    linears, everything = 32 * 218_103_808, 8_597_499_904
    rest = 2 * (everything - linears)
    rows = 32 * (6144 + 4096 + 2 * 14336 + 4096)
    assert weight_bytes(model, Precision.BF16, torch.bfloat16) == 2 * everything
    assert weight_bytes(model, Precision.INT8, torch.bfloat16) == rest + linears + 2 * rows
    assert weight_bytes(model, Precision.INT4, torch.bfloat16) == rest + linears // 2 + 4 * (linears // 128)


@needs_torchao
@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_weight_bytes_are_what_torchao_takes(precision):
    model = tiny_model().bfloat16()
    expected = weight_bytes(model, precision, torch.bfloat16)
    quantise(model, precision, CPU)
    stored = 0
    for parameter in model.parameters():
        parts = [parameter] if not hasattr(parameter, "tensor_data_names") else []
        if not parts:
            names = [*parameter.tensor_data_names, *parameter.optional_tensor_data_names]
            parts = [part for name in names if (part := getattr(parameter, name, None)) is not None]
        stored += sum(part.numel() * part.element_size() for part in parts)
    assert stored == pytest.approx(expected, rel=0.02)


@needs_torchao
@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_an_engine_reports_what_its_small_weights_take(folder, precision):
    """Not what they would take unquantised, as their shapes and dtype say. What the next model may have is counted from it."""
    with closing(load_engine(Settings(model=str(folder), device="cpu", precision=str(precision)), measure=False)) as engine:
        model = engine.runner.model
        whole = sum(parameter.numel() * model.dtype.itemsize for parameter in model.parameters())
        assert engine.memory_report()["model_bytes"] == weight_bytes(tiny_model(), precision, model.dtype) < 0.8 * whole


def logits_of(model):
    embeds = torch.randn(1, 40, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    return model(inputs_embeds=embeds, visual_spans=VisualSpans.of_row([(5, 30)])).logits.flatten()


@needs_torchao
@torch.no_grad()
def test_int8_answers_stay_close():
    model, exact = tiny_model(), tiny_model()
    quantise(model, Precision.INT8, CPU)
    assert torch.cosine_similarity(logits_of(model), logits_of(exact), dim=0) > 0.99


@needs_torchao
@torch.no_grad()
def test_int4_answers_are_those_of_weights_rounded_by_hand():
    """16 even levels from each group's smallest weight to its largest. (Random weights have no redundancy: against the exact
    ones the likeness is 0.88 here, which says nothing about a trained model.)"""
    model, by_hand = tiny_model(), tiny_model()
    quantise(model, Precision.INT4, CPU)
    for module in by_hand.modules():
        if isinstance(module, PLoRALinear):
            groups = module.weight.unflatten(1, (-1, 32))
            low = groups.amin(-1, keepdim=True)
            step = (groups.amax(-1, keepdim=True) - low) / 15
            module.weight.copy_((low + ((groups - low) / step).round() * step).flatten(1))
    assert torch.cosine_similarity(logits_of(model), logits_of(by_hand), dim=0) > 0.999
