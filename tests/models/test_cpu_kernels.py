"""The CPU's faster ways to linear layers and to a prefill chunk's attention, against float64 written out."""

import pytest
import torch
from torch import nn

from ixc.models import onednn_linear
from ixc.models.onednn_linear import OneDnnLinear, use_onednn
from ixc.models.xcomposer2.chunk_attention import attend_in_blocks, attend_in_parts


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
    [(attend_in_blocks, torch.float32), (attend_in_parts, torch.float32), (attend_in_parts, torch.bfloat16)],
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
