"""Attention where no flash kernel runs: SDPA gets as many key heads as query heads, and answers the same."""

import pytest
import torch
from torch import nn
from transformers import DynamicCache, StaticCache

from ixc.models.attention import attention_implementation
from ixc.models.xcomposer2.chunk_attention import attend_aligned
from tests import checkpoints, inf_checkpoints


@pytest.fixture(params=["xcomposer2", "inf_llava"])
def model(request):
    made = checkpoints.tiny_model() if request.param == "xcomposer2" else inf_checkpoints.tiny_model()
    assert made.config.num_attention_heads == 2 * made.config.num_key_value_heads
    return made


@pytest.fixture
def asked(monkeypatch):
    """(heads, key heads, enable_gqa, is_causal, has a mask) of every call of SDPA."""
    calls, sdpa = [], nn.functional.scaled_dot_product_attention

    def note(query, key, value, attn_mask=None, is_causal=False, enable_gqa=False, **options):
        calls.append((query.shape[1], key.shape[1], enable_gqa, is_causal, attn_mask is not None))
        return sdpa(query, key, value, attn_mask=attn_mask, is_causal=is_causal, enable_gqa=enable_gqa, **options)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", note)
    return calls


def passes(model):
    """Logits of a prompt, of a chunk after it, of one token after that, and of two rows of which one is padded."""
    ids = torch.arange(4, 40)[None]
    cache = DynamicCache(config=model.config)
    logits = [model(ids[:, start:stop], past_key_values=cache).logits for start, stop in ((0, 20), (20, 35), (35, 36))]
    padded = torch.ones(2, 20, dtype=torch.long)
    padded[1, 15:] = 0
    return [*logits, model(ids[:, :20].repeat(2, 1), attention_mask=padded).logits[padded.bool()]]


@torch.no_grad()
def test_repeated_keys_give_the_same_and_never_leave_sharing_to_sdpa(model, asked):
    model.set_attn_implementation("eager")
    expected = passes(model)
    model.set_attn_implementation("sdpa")
    assert any(enable_gqa for *_, enable_gqa, _, _ in asked or (passes(model) and asked)), "transformers left it to SDPA"
    asked.clear()
    model.set_attn_implementation(attention_implementation(torch.device("cuda"), torch.float32))
    found = passes(model)
    num_layers = model.config.num_hidden_layers
    assert len(asked) == 4 * num_layers
    assert asked[:num_layers] == [(4, 4, False, True, False)] * num_layers, "the prompt: causal, and no mask"
    assert not any(enable_gqa for _, _, enable_gqa, _, _ in asked)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_gpu_s_way_for_chunks_without_a_mask_answers_the_same(monkeypatch):
    """On CPU tensors, on which PyTorch writes the aligned triangle out."""
    model, num_keys = checkpoints.tiny_model(), []
    model.set_attn_implementation("eager")
    expected = passes(model)
    model.set_attn_implementation("sdpa")

    def note(query, key, value, scaling):
        num_keys.append((query.shape[2], key.shape[2]))
        return attend_aligned(query, key, value, scaling)

    monkeypatch.setattr("ixc.models.xcomposer2.language.attend_without_mask", note)
    found = passes(model)
    assert set(num_keys) == {(20, 20), (15, 35)}, "the prompt and the chunk; not one token, and not where some are padding"
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_cache_longer_than_what_it_holds_needs_a_mask():
    """transformers' ``StaticCache`` gives out all its places; those not yet filled stand behind the chunk."""
    model, ids, logits = checkpoints.tiny_model(), torch.arange(4, 40)[None], {}
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        cache = StaticCache(config=model.config, max_cache_len=64)
        chunks = [model(ids[:, start:stop], past_key_values=cache).logits for start, stop in ((0, 20), (20, 36))]
        logits[implementation] = torch.cat(chunks, 1)
    torch.testing.assert_close(logits["sdpa"], logits["eager"], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_vision_tower_stays_as_it_is(asked):
    """Its attention is not causal, and every head has its own keys."""
    model = checkpoints.tiny_model()
    model.set_attn_implementation("eager")
    views = torch.randn(2, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    expected = model.encode_views(views)
    model.set_attn_implementation(attention_implementation(torch.device("cuda"), torch.float32))
    torch.testing.assert_close(model.encode_views(views), expected, rtol=1e-4, atol=1e-5)
    assert {is_causal for *_, is_causal, _ in asked} == {False}
