"""Decoding over fixed buffers against the model's ordinary forward and transformers' generate, across block borders."""

import logging

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from transformers import DynamicCache

from ixc.chat.kv_cache import InPlaceCache
from ixc.chat.static_decode import DecodeMode, StaticDecoder, make_static_decoder
from ixc.models.xcomposer2.blocked_cache import BLOCK_POSITIONS
from ixc.models.xcomposer2.modeling import run_layer
from tests.checkpoints import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def prefilled(model, cache, length, seed=0):
    """Run ``length`` random embeddings through the ordinary forward; the last logits [V]."""
    embeds = torch.randn(1, length, model.config.hidden_size, generator=torch.Generator().manual_seed(seed))
    return model(inputs_embeds=embeds.to(model.dtype), past_key_values=cache, logits_to_keep=1).logits[0, -1]


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 200, BLOCK_POSITIONS - 1, BLOCK_POSITIONS, 4 * BLOCK_POSITIONS - 3])
def test_same_logits_as_the_ordinary_forward_and_the_cache_holds_the_answer_afterwards(model, length):
    """The oracle is transformers' DynamicCache; 6 steps from 1,021 on cross into the next length of steps."""
    oracle, ours = DynamicCache(config=model.config), InPlaceCache(model.config.num_hidden_layers, length)
    logits_V = prefilled(model, oracle, length)
    prefilled(model, ours, length)
    decoder = make_static_decoder(model, 5 * BLOCK_POSITIONS, DecodeMode.STATIC)
    with decoder.decoding(ours, 6) as step:
        for _ in range(6):
            token_1 = logits_V.argmax(-1, keepdim=True)
            logits_V = model(token_1[None], past_key_values=oracle).logits[0, -1]
            torch.testing.assert_close(step(token_1), logits_V, rtol=1e-4, atol=1e-4)
    assert ours.length == oracle.get_seq_length() == length + 6
    for layer, expected in zip(ours.layers, oracle.layers, strict=True):
        torch.testing.assert_close(layer.keys[:, :, : ours.length], expected.keys, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(layer.values[:, :, : ours.length], expected.values, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_an_answer_that_overflowed_leaves_nothing_to_the_next(model):
    """Oracle: a decoder that nobody has used. Unused places meet a weight of 0, and 0 times NaN is NaN."""
    used, fresh = (make_static_decoder(model, 3 * BLOCK_POSITIONS, DecodeMode.STATIC) for _ in range(2))
    overflowed = InPlaceCache(model.config.num_hidden_layers, 2 * BLOCK_POSITIONS + 50)
    prefilled(model, overflowed, 2 * BLOCK_POSITIONS + 40)
    for layer in overflowed.layers:
        layer.keys.fill_(torch.nan)
        layer.values.fill_(torch.nan)
    with used.decoding(overflowed, 6) as step:
        for _ in range(6):
            assert step(torch.tensor([5])).isnan().all()
    for length in (BLOCK_POSITIONS - 3, 7):
        logits = []
        for decoder in (used, fresh):
            cache = InPlaceCache(model.config.num_hidden_layers, length)
            prefilled(model, cache, length)
            with decoder.decoding(cache, 6) as step:
                logits.append(torch.stack([step(torch.tensor([5])).clone() for _ in range(6)]))
        assert torch.equal(*logits)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_near_to_float32_as_the_ordinary_forward_is(model, dtype):
    """Oracle: float32. The fixed buffers may err half as much again as the ordinary forward in the same dtype does."""
    half = tiny_model().to(dtype)
    half_in_32 = tiny_model().to(dtype).float()
    length = BLOCK_POSITIONS - 3
    exact, ordinary = DynamicCache(config=model.config), DynamicCache(config=model.config)
    ours = InPlaceCache(model.config.num_hidden_layers, length)
    logits_V = prefilled(half_in_32, exact, length)
    for cache in (ordinary, ours):
        prefilled(half, cache, length)
    errors = []
    with make_static_decoder(half, 2 * BLOCK_POSITIONS, DecodeMode.STATIC).decoding(ours, 6) as step:
        for _ in range(6):
            token_1 = logits_V.argmax(-1, keepdim=True)
            logits_V = half_in_32(token_1[None], past_key_values=exact).logits[0, -1]
            plain_V = half(token_1[None], past_key_values=ordinary).logits[0, -1]
            errors.append([(found_V - logits_V).norm() / logits_V.norm() for found_V in (step(token_1), plain_V)])
    ours_error, plain_error = torch.tensor(errors).amax(0)
    assert ours_error < 1.5 * plain_error < 0.2
    for layer, expected in zip(ours.layers, exact.layers, strict=True):
        assert layer.keys.dtype == dtype
        for found, right in ((layer.keys, expected.keys), (layer.values, expected.values)):
            assert (found[:, :, length : ours.length] - right[:, :, length:]).norm() < 0.1 * right[:, :, length:].norm()


@torch.no_grad()
def test_nothing_of_the_last_answer_is_seen(model):
    """A longer answer before leaves its keys behind the new one's end."""
    decoder = StaticDecoder(model, 2 * BLOCK_POSITIONS, DecodeMode.STATIC)
    fresh = StaticDecoder(model, 2 * BLOCK_POSITIONS, DecodeMode.STATIC)
    token_1, logits = torch.tensor([7]), []
    before = InPlaceCache(model.config.num_hidden_layers, 8)
    prefilled(model, before, 300, seed=1)
    with decoder.decoding(before, 9) as step:
        for _ in range(9):
            step(token_1)
    for each in (decoder, fresh):
        cache = InPlaceCache(model.config.num_hidden_layers, 8)
        prefilled(model, cache, 20)
        with each.decoding(cache, 2) as step:
            step(token_1)
            logits.append(step(token_1).clone())
    assert torch.equal(*logits)


@torch.no_grad()
def test_what_does_not_fit_is_refused(model):
    cache = InPlaceCache(model.config.num_hidden_layers, 8)
    prefilled(model, cache, 20)
    decoder = StaticDecoder(model, BLOCK_POSITIONS, DecodeMode.STATIC)
    with pytest.raises(ValueError, match="do not fit 256"), decoder.decoding(cache, BLOCK_POSITIONS):
        pass


@torch.no_grad()
def test_the_step_compiles_whole_and_once_for_all_layers_and_lengths(model, monkeypatch):
    """What a GPU gets: no graph break (fullgraph) and few compilations: one, and one more for any number of blocks."""
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr("ixc.chat.static_decode.run_layer", torch.compile(run_layer, backend=counter, fullgraph=True))
    decoder = StaticDecoder(model, 20 * BLOCK_POSITIONS, DecodeMode.STATIC)
    with torch.inference_mode():
        for length in (20, 4 * BLOCK_POSITIONS, 9 * BLOCK_POSITIONS, 13 * BLOCK_POSITIONS, 17 * BLOCK_POSITIONS):
            cache = InPlaceCache(model.config.num_hidden_layers, 8)
            prefilled(model, cache, length)
            with decoder.decoding(cache, 1) as step:
                step(torch.tensor([3]))
    assert 1 <= counter.frame_count <= 2
    torch._dynamo.reset()


def test_without_a_gpu_nothing_is_captured_and_the_reason_is_logged(model, caplog):
    assert make_static_decoder(model, 512, DecodeMode.AUTO) is None
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert make_static_decoder(model, 512, DecodeMode.GRAPHS) is None
    assert "without CUDA graphs: the model is on the cpu" in caplog.text


def test_a_mode_that_fails_falls_back_with_its_reason(model, caplog, monkeypatch):
    def fail(self):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(StaticDecoder, "prepare", fail)
    with caplog.at_level(logging.WARNING):
        assert make_static_decoder(model, 512, DecodeMode.STATIC) is None
    assert "static is not possible here: RuntimeError: no compiler here" in caplog.text
