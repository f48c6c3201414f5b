"""InternLM2 with PLoRA: logits, hidden states, cache, batch, two images, and `generate`."""

import pytest
import torch
from transformers import DynamicCache

from ixc.models.xcomposer2 import VisualSpans

LOGITS_TOLERANCE = 3e-4  # float32 against float64 gave 1e-4 (README); a missing PLoRA moves them by 4.7
HIDDEN_TOLERANCE = 3e-4  # the last layer's states are of the logits' size
IMAGE_CASES = [
    ("img_landscape", 1),
    ("img_landscape", 4),
    ("img_portrait", 1),
    ("img_portrait", 4),
    ("img_portrait", 9),
    ("img_wide", 1),
    ("img_wide", 4),
]
CASE_NAMES = ["text_only", "text_masked", *(f"{name}.hd{budget}" for name, budget in IMAGE_CASES), "two_images"]


@pytest.fixture
def embeds_of(model, golden, tensors, image_embeds):
    """Case name -> (inputs_embeds [1, S, D], im_mask [1, S])."""
    inputs = golden["inputs"]

    def text(ids):
        return model.model.tok_embeddings(torch.tensor(ids))

    def build(case):
        if case in ("text_only", "text_masked"):
            embeds = text(inputs["text_ids"])[None]
            mask = tensors["llm.text_masked.im_mask"].bool() if case == "text_masked" else torch.zeros(1, 32).bool()
            return embeds, mask
        if case == "two_images":
            first, second = image_embeds("img_landscape", 4), image_embeds("img_landscape2", 4)
            parts = [[i % 512 for i in call["ids"]] for call in golden["two_images"]["tokenizer_calls"]]
            pieces = [text(parts[0]), first, text(parts[1]), second, text(parts[2])]
            visual = (1, 3)
        else:
            name, budget = case.split(".hd")
            pieces = [text(inputs["pre_ids"]), image_embeds(name, int(budget)), text(inputs["post_ids"])]
            visual = (1,)
        mask = torch.cat([torch.full((len(p),), i in visual) for i, p in enumerate(pieces)])
        return torch.cat(pieces)[None], mask[None]

    with torch.no_grad():
        yield build


@pytest.fixture(params=CASE_NAMES)
def case(request):
    return request.param


@torch.no_grad()
def test_logits_and_hidden_states(case, model, embeds_of, tensors):
    embeds, mask = embeds_of(case)
    output = model(inputs_embeds=embeds, im_mask=mask, output_hidden_states=True)
    key = f"llm.{case}."
    if key + "logits" in tensors:
        assert_close(output.logits, tensors[key + "logits"], LOGITS_TOLERANCE)
    else:
        assert_close(output.logits[:, -8:], tensors[key + "logits_last8"], LOGITS_TOLERANCE)
        assert_close(output.logits[:, ::37], tensors[key + "logits_every37"], LOGITS_TOLERANCE)
    assert torch.equal(output.logits.argmax(-1).int(), tensors[key + "argmax"])
    hidden = torch.stack([h[:, -8:] for h in output.hidden_states])
    assert_close(hidden, tensors[key + "hidden_last8"], HIDDEN_TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 7, 64, 500])
def test_prefill_in_chunks_gives_the_same_logits(chunk, model, embeds_of, tensors):
    case = "img_landscape.hd1"
    embeds, mask = embeds_of(case)
    spans, cache, logits = VisualSpans.from_mask(mask), DynamicCache(config=model.config), []
    for start in range(0, embeds.shape[1], chunk):
        stop = min(start + chunk, embeds.shape[1])
        part = model(inputs_embeds=embeds[:, start:stop], visual_spans=spans.clip(start, stop), past_key_values=cache)
        logits.append(part.logits)
    assert_close(torch.cat(logits, 1)[:, ::37], tensors[f"llm.{case}.logits_every37"], LOGITS_TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_batch_with_padding_on_the_right(attention, model, tensors):
    before = model.config._attn_implementation
    model.set_attn_implementation(attention)
    try:
        embeds = model.model.tok_embeddings(tensors["llm.batch2.input_ids"].long())
        attention_mask = tensors["llm.batch2.attention_mask"].long()
        output = model(inputs_embeds=embeds, attention_mask=attention_mask, im_mask=tensors["llm.batch2.im_mask"])
        real = attention_mask.bool()
        assert_close(output.logits[real], tensors["llm.batch2.logits"][real], LOGITS_TOLERANCE)
    finally:
        model.set_attn_implementation(before)


@torch.no_grad()
def test_cache_contents_and_one_step_on(model, embeds_of, tensors):
    embeds, mask = embeds_of("text_masked")
    cache = DynamicCache(config=model.config)
    model(inputs_embeds=embeds, im_mask=mask, past_key_values=cache)
    assert_close(cache.layers[0].keys, tensors["llm.layer0.key_cache"], 1e-5)
    assert_close(cache.layers[0].values, tensors["llm.layer0.value_cache"], 1e-5)
    step = model(input_ids=torch.tensor([[77]]), past_key_values=cache)
    assert_close(step.logits, tensors["llm.cache_step.next_id_77.logits"], LOGITS_TOLERANCE)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("greedy16", {}),
        ("greedy16_repetition_penalty_1_5", {"repetition_penalty": 1.5}),
        ("beam3_rp1_005", {"num_beams": 3, "repetition_penalty": 1.005}),
    ],
)
def test_generate_from_embeddings(case, key, options, model, embeds_of, golden):
    embeds, mask = embeds_of(case)
    ids = model.generate(
        inputs_embeds=embeds, im_mask=mask, max_new_tokens=16, do_sample=False, eos_token_id=None, pad_token_id=2, **options
    )
    assert ids[0].tolist() == golden["llm"][case][key]


def assert_close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max().item() <= tolerance
