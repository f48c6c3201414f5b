"""Faster ways to linear layers, norms and a prefill chunk's attention, against float64 or the formula written out.

Those of a GPU run here on the CPU: the same function, PyTorch's kernel for the CPU.
"""

import pytest
import torch
from torch import nn

from ixc.models import onednn_linear
from ixc.models.onednn_linear import OneDnnLinear, use_onednn
from ixc.models.xcomposer2.chunk_attention import attend_aligned, attend_in_blocks, attend_in_parts
from ixc.models.xcomposer2.language import PLoRALinear, RMSNorm, add_product
from ixc.models.xcomposer2.spans import VisualSpans
from tests.other_device import DEVICE, move_there, other_device


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize("is_faster", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 24), (1, 40, 24), (3, 40, 24)])
def test_a_linear_layer_is_the_same_either_way(monkeypatch, generator, is_faster, shape):
    monkeypatch.setattr(onednn_linear, "is_onednn_faster", lambda: is_faster)
    model = nn.Sequential(nn.Linear(24, 50), nn.Linear(50, 7, bias=False))
    names = set(model.state_dict())
    x = torch.randn(shape, generator=generator)
    exact = x.double()
    for layer in model:
        exact = exact @ layer.weight.double().T + (layer.bias.double() if layer.bias is not None else 0)
    use_onednn(model)
    assert {type(layer) for layer in model} == {OneDnnLinear}
    assert set(model.state_dict()) == names
    with torch.inference_mode():
        torch.testing.assert_close(model(x).double(), exact, atol=1e-5, rtol=1e-5)
    model(x).sum().backward()  # training goes on
    assert model[0].weight.grad is not None


@pytest.mark.parametrize(("num_past", "num_own"), [(0, 300), (1, 2), (70, 33), (5, 300)])
@pytest.mark.parametrize(
    ("attend", "dtype"),
    [
        (attend_in_blocks, torch.float32),
        (attend_in_parts, torch.float32),
        (attend_in_parts, torch.bfloat16),
        (attend_aligned, torch.float32),
        (attend_aligned, torch.bfloat16),
    ],
)
def test_a_chunk_attends_to_all_before_it_and_causally_to_itself(generator, num_past, num_own, attend, dtype):
    total, scaling = num_past + num_own, 0.4
    query = torch.randn(1, 4, num_own, 8, generator=generator).to(dtype)
    key, value = (torch.randn(1, 2, total, 8, generator=generator).to(dtype) for _ in range(2))
    key[:, :, : num_past // 2] *= 30  # some hold nearly all the weight, far from the others
    out = attend(query, key, value, scaling)
    assert out.shape == (1, num_own, 4, 8)
    for head in range(4):
        scores = query[0, head].double() @ key[0, head // 2].double().T * scaling
        for row in range(num_own):
            weights = torch.softmax(scores[row, : num_past + row + 1], 0)
            expected = weights @ value[0, head // 2, : num_past + row + 1].double()
            tolerance = 1e-5 if dtype == torch.float32 else 3e-2
            torch.testing.assert_close(out[0, row, head].double(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [48, 192, 4096])
def test_the_norm_is_the_reference_s_to_the_last_bit(generator, dtype, width):
    """Oracle: the official code's formula, which squares, means and scales in float32 and casts before the weight."""
    norm = RMSNorm(width, 1e-5)
    nn.init.normal_(norm.weight, generator=generator)
    norm.to(dtype)
    for scale in (1e-3, 1.0, 300.0):
        x = (torch.randn(2, 9, width, generator=generator) * scale).to(dtype)
        in_32 = x.to(torch.float32)
        in_32 = in_32 * torch.rsqrt(in_32.pow(2).mean(-1, keepdim=True) + 1e-5)
        with torch.inference_mode():
            found = norm(x)
        assert found.dtype == dtype
        assert torch.equal(found, norm.weight * in_32.to(dtype))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_branch_added_within_its_product_is_the_same(generator, dtype, tolerance, rows):
    y, low = torch.randn(rows, 40, 24, generator=generator).to(dtype), torch.randn(rows, 30, 6, generator=generator).to(dtype)
    weight = torch.randn(24, 6, generator=generator).to(dtype)
    expected = y.double()
    expected[:, 5:35] += 0.5 * (low.double() @ weight.double().T)
    with torch.inference_mode():
        add_product(y[:, 5:35], low, weight, 0.5)
    torch.testing.assert_close(y.double(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("spans", [(((2, 9),), ((2, 9),)), (((2, 9), (20, 21)), ()), (((0, 30),), ((4, 5),))])
def test_the_branch_reaches_visual_tokens_only_on_either_device(generator, spans, monkeypatch):
    """In float64 written out; the GPU's way is taken where the tensors say they are on one."""
    layer = PLoRALinear(12, 20, rank=4, alpha=8, dropout=0.0).eval()
    nn.init.normal_(layer.Plora_B.weight, generator=generator)
    x = torch.randn(2, 30, 12, generator=generator)
    exact = x.double() @ layer.weight.double().T
    branch = x.double() @ layer.Plora_A.weight.double().T @ layer.Plora_B.weight.double().T * 2
    for row, row_spans in enumerate(spans):
        for start, stop in row_spans:
            exact[row, start:stop] += branch[row, start:stop]
    calls = []

    def note(*args):
        calls.append(args[0].shape)
        add_product(*args)

    monkeypatch.setattr("ixc.models.xcomposer2.language.add_product", note)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x, VisualSpans(spans)).double(), exact.detach(), atol=1e-5, rtol=1e-5)
        assert not calls
        with other_device():
            move_there(layer)
            found = layer(x.to(DEVICE), VisualSpans(spans)).to("cpu")
    torch.testing.assert_close(found.double(), exact.detach(), atol=1e-5, rtol=1e-5)
    assert calls
