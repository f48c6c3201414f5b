"""Number formats by name, and int8 weights that leave Partial LoRA alone."""

from importlib.util import find_spec

import pytest
import torch

from ixc.errors import SettingsError
from ixc.models.precision import Precision, load_dtype, parse_precision, quantise_int8
from ixc.models.xcomposer2 import VisualSpans
from ixc.models.xcomposer2.language import PLoRALinear
from tests.checkpoints import tiny_model

CPU = torch.device("cpu")


@pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed")
def test_int8_without_torchao_says_what_to_install():
    with pytest.raises(SettingsError, match="needs the package torchao"):
        quantise_int8(tiny_model())


def test_names_and_defaults():
    assert parse_precision("int8") is Precision.INT8
    with pytest.raises(SettingsError, match="one of auto, bf16, fp16, fp32, int8, not '4bit'"):
        parse_precision("4bit")
    assert load_dtype(Precision.FP16, CPU, 1) == torch.float16
    assert load_dtype(Precision.AUTO, CPU, 10**6) == torch.float32
    assert load_dtype(Precision.AUTO, CPU, 8 * 10**9) == torch.bfloat16


needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="pip install torchao, see requirements-gpu.txt")


@needs_torchao
@torch.no_grad()
def test_int8_rounds_the_linears_by_row_and_nothing_else():
    """The oracle quantises by hand: each row to whole steps of its largest magnitude / 127.5, within one step."""
    model, exact = tiny_model(), tiny_model()
    quantise_int8(model)
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
def test_int8_answers_stay_close():
    model, exact = tiny_model(), tiny_model()
    quantise_int8(model)
    embeds = torch.randn(1, 40, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    spans = VisualSpans.of_row([(5, 30)])
    expected = exact(inputs_embeds=embeds, visual_spans=spans).logits
    actual = model(inputs_embeds=embeds, visual_spans=spans).logits
    assert torch.nn.functional.cosine_similarity(actual.flatten(), expected.flatten(), dim=0) > 0.99
