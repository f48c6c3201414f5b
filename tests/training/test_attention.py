"""Attention while training: the same numbers as elsewhere, in as many operations as the device likes."""

import dataclasses

import torch

from ixc.training.attention import QUERY_BLOCK, attend_causally, fast_attention
from ixc.training.stages import Kit
from tests.other_device import other_device
from tests.training.conftest import CountedOperations


def test_attention_in_blocks_is_causal_attention():
    """Oracle: PyTorch's own, over a length that is no multiple of the block."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, QUERY_BLOCK + 37, 16, generator=generator) for _ in range(3))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2)
    found, _ = attend_causally(None, query, key, value, None, 16**-0.5)
    assert torch.allclose(found, expected, atol=1e-5)


def test_attention_on_another_device_is_the_same_in_a_handful_of_operations():
    """However many texts there are and however long they are: a GPU would wait for thousands of small ones."""
    generator = torch.Generator().manual_seed(0)
    query, *shared = (torch.randn(2, heads, QUERY_BLOCK + 37, 16, generator=generator) for heads in (4, 2, 2))
    expected, _ = attend_causally(None, query, *shared, None, 16**-0.5)
    with other_device() as device:
        found, _ = attend_causally(None, *(each.to(device) for each in (query, *shared)), None, 16**-0.5)
        found = found.to("cpu")
    assert torch.allclose(found, expected, atol=1e-5)
    with CountedOperations() as counted:
        attend_causally(None, *(torch.empty(8, 4, 4096, 48, device="meta") for _ in range(3)), None, 48**-0.5)
    assert counted.names.total() < 40, counted.names


def test_training_attends_as_the_finished_model_does(tiny_config, tmp_path):
    """Language causally, pictures in all directions: both kinds of attention are set through one configuration."""
    model = {**tiny_config.model, "num_key_value_heads": 2}
    kit = Kit.make(dataclasses.replace(tiny_config, model=model), tmp_path / "kit")
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(2, 3, 336, 336, generator=generator)
    ids = torch.randint(5, 300, (2, QUERY_BLOCK + 9), generator=generator)

    def outputs():
        with torch.no_grad():
            return kit.model.vit(views), kit.model(ids).logits

    expected = outputs()
    before = kit.model.config._attn_implementation, kit.model.vit.clip.config._attn_implementation
    with fast_attention(kit.model):
        assert kit.model.config._attn_implementation != before[0]
        for found, right in zip(outputs(), expected, strict=True):
            assert torch.allclose(found, right, atol=1e-4)
    assert (kit.model.config._attn_implementation, kit.model.vit.clip.config._attn_implementation) == before
