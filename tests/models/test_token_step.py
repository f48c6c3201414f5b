"""The CPU's step for one token against the ordinary forward, which is held against the reference elsewhere."""

import pytest
import torch
from transformers import DynamicCache

from ixc.models.xcomposer2 import XComposer2Config
from ixc.models.xcomposer2.modeling import InternLM2Model
from ixc.models.xcomposer2.token_step import TokenStep, has_token_step
from tests.checkpoints import tiny_model


def body(num_heads: int, num_kv_heads: int, seed: int = 3) -> InternLM2Model:
    """Three layers whose norms and branches all matter."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 48, "intermediate_size": 80, "vocab_size": 60, "num_hidden_layers": 3, "pad_token_id": 2}
    config = XComposer2Config(
        **sizes, num_attention_heads=num_heads, num_key_value_heads=num_kv_heads, plora_rank=4, plora_alpha=4
    )
    model = InternLM2Model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.3 if parameter.dim() == 1 else 0.0, 0.2)
    return model


@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(4, 4), (4, 2), (6, 1)])
def test_steps_are_those_of_the_ordinary_forward(num_heads, num_kv_heads):
    """State after each token and all keys and values, behind a prompt and behind nothing."""
    model = body(num_heads, num_kv_heads)
    assert has_token_step(model)
    for num_prompt in (0, 11):
        ours, expected = DynamicCache(), DynamicCache()
        with torch.inference_mode():
            if num_prompt:
                prompt = model.tok_embeddings(torch.arange(num_prompt)[None] + 20)
                for cache in (ours, expected):
                    model(inputs_embeds=prompt, past_key_values=cache)
            step = TokenStep(model)
            for token_id in (7, 3, 3, 59, 0):
                embeds = model.tok_embeddings(torch.tensor([[token_id]]))
                state = model(inputs_embeds=embeds, past_key_values=expected).last_hidden_state[0]
                torch.testing.assert_close(step(token_id, ours), state, atol=1e-5, rtol=1e-5)
        assert ours.get_seq_length() == num_prompt + 5
        for ours_layer, layer in zip(ours.layers, expected.layers, strict=True):
            torch.testing.assert_close(ours_layer.keys, layer.keys, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(ours_layer.values, layer.values, atol=1e-5, rtol=1e-5)


def test_other_models_keep_their_own_way():
    model = tiny_model().model
    assert has_token_step(model)
    feed_forward = model.layers[-1].feed_forward
    feed_forward.w2.weight = torch.nn.Parameter(feed_forward.w2.weight.to("meta"))
    assert not has_token_step(model), "a part of it lies elsewhere"
    assert not has_token_step(tiny_model().model.bfloat16())
    changed = tiny_model().model
    changed.layers[0].attention.wo = torch.nn.Linear(*changed.layers[0].attention.wo.weight.shape[::-1])
    assert not has_token_step(changed)
    assert not has_token_step(torch.nn.Linear(2, 2))
