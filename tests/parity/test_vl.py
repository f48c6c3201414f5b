"""The single-view model, InternLM-XComposer2-VL: same classes, its own config. test_language is about both models."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from ixc.conversation import BOS_TEXT, render_chat
from ixc.models.clip_pixels import normalise
from ixc.models.xcomposer2 import XComposer2ImageProcessor, XComposer2Processor
from ixc.models.xcomposer2.targets import IGNORE_INDEX
from ixc.single_view import SingleViewPlan
from ixc.tiling import Grid, SizePx
from tests.checkpoints import VL_REFERENCE

IMAGES = ("img_landscape", "img_portrait")
CHATS = ("first_round", "second_round_image_in_history", "no_meta_image_at_end", "chinese", "text_only")
PIXELS_CLOSE = {"rtol": 0, "atol": 1e-6}
VISION_CLOSE = {"rtol": 0, "atol": 3e-5}  # float32 against float64 gave 8e-6 (README)
LOGITS_CLOSE = {"rtol": 0, "atol": 4e-4}  # float32 against float64 gave 1.4e-4
TINY_VOCABULARY = 512


@pytest.fixture(scope="module")
def reference():
    return VL_REFERENCE


@pytest.fixture(scope="module")
def processor(tokenizer):
    return XComposer2Processor(XComposer2ImageProcessor(img_size=490), tokenizer)


def pixels(name):
    return np.asarray(Image.open(VL_REFERENCE / f"{name.removesuffix('.png')}.png").convert("RGB"))


@pytest.mark.parametrize("name", IMAGES)
def test_pixels(name, processor, golden, tensors):
    tiles = processor.image_processor(pixels(name))["tiles"]
    squashed = tiles[0].permute(1, 2, 0).contiguous().numpy()
    assert hashlib.sha256(squashed.tobytes()).hexdigest() == golden["images"][name]["uint8_sha256"]
    normalised = normalise(tiles)[0]
    assert_close(normalised[:, 241:249, 241:249], tensors[f"{name}.pixels_center_8x8"], **PIXELS_CLOSE)
    assert_close(normalised[:, ::23, ::19], tensors[f"{name}.pixels_stride"], **PIXELS_CLOSE)


@pytest.mark.parametrize("name", IMAGES)
@torch.no_grad()
def test_features_before_and_after_the_projector(name, model, processor, tensors):
    feat = model.vision_features(processor.image_processor(pixels(name))["tiles"], [Grid(1, 1)])[0]
    assert_close(feat[::7], tensors[f"{name}.vit_out_every7"][0], **VISION_CLOSE)
    assert_close(model.vision_proj(feat)[::7], tensors[f"{name}.proj_out_every7"][0], **VISION_CLOSE)


@torch.no_grad()
def test_batch_with_padding_on_the_left(model, golden, tensors):
    """Positions are those of the padded sequence, and only their differences count."""
    ids, attention_mask = tensors["llm.batch2_left.input_ids"].long(), tensors["llm.batch2_left.attention_mask"].long()
    im_mask = tensors["llm.batch2_left.im_mask"]
    output = model(inputs_embeds=model.model.tok_embeddings(ids), attention_mask=attention_mask, im_mask=im_mask)
    real = attention_mask.bool()
    assert_close(output.logits[real], tensors["llm.batch2_left.logits"][real], **LOGITS_CLOSE)
    embeds = model.model.tok_embeddings(ids)
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 2}
    generated = model.generate(inputs_embeds=embeds, attention_mask=attention_mask, im_mask=im_mask, **options)
    assert generated.tolist() == golden["llm"]["batch2_left"]["greedy8"]


@pytest.mark.parametrize("name", CHATS)
def test_chat(name, model, processor, golden):
    chat = next(chat for chat in golden["chat"] if chat["name"] == name)
    text = render_chat(chat["meta_instruction"], chat["history"], chat["query"])
    inputs = processor(text, pixels(chat["image"])) if chat["image"] else processor(BOS_TEXT + text)
    is_visual = inputs["input_ids"] == processor.image_token_id
    assert is_visual[0].int().tolist() == [value for value, length in chat["im_mask_runs"] for _ in range(length)]
    text_ids = inputs["input_ids"][~is_visual].tolist()
    assert text_ids == [i for call in chat["tokenizer_calls"] for i in call["ids"]]
    input_ids = torch.where(is_visual, model.config.image_token_id, inputs["input_ids"] % TINY_VOCABULARY)
    options = {"max_new_tokens": 16, "do_sample": False, "repetition_penalty": 1.005, "eos_token_id": [2, 382]}
    if chat["image"]:
        ids = model.generate(input_ids, tiles=inputs["tiles"], image_grids=inputs["image_grids"], **options)[0]
    else:
        ids = model.generate(input_ids, attention_mask=torch.ones_like(input_ids), **options)[0, input_ids.shape[1] :]
    assert ids.tolist() == chat["generated_ids"]


def test_training_loss(golden, model, image_embeds):
    expected = golden["training_loss"]
    image = image_embeds(expected["image"])
    labels = [IGNORE_INDEX] * (len(expected["ids_before"]) + len(image)) + expected["targets_after_image"]
    labels = torch.tensor([[label if label < 0 else label % TINY_VOCABULARY for label in labels]])
    before, after = (torch.tensor(expected[key]) % TINY_VOCABULARY for key in ("ids_before", "ids_after"))
    with torch.no_grad():
        embeds = torch.cat([model.model.tok_embeddings(before), image, model.model.tok_embeddings(after)])[None]
        mask = torch.zeros(embeds.shape[:2])
        mask[:, len(before) : len(before) + len(image)] = 1
        loss = model(inputs_embeds=embeds, im_mask=mask, labels=labels).loss
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-4)


def test_the_plan_says_what_the_model_does():
    """By hand: 700 x 350 squashed to 490 x 490 has 35 x 35 patches, so each sees 20 x 10 original pixels."""
    plan = SingleViewPlan(SizePx(height=350, width=700), 490)
    assert plan.num_visual_tokens == 1225
    rect = plan.token_rect(36)
    assert (rect.left, rect.top, rect.right, rect.bottom) == pytest.approx((20, 10, 40, 20))
    with pytest.raises(IndexError, match="1225"):
        plan.token_rect(1225)
    with pytest.raises(ValueError, match="whole patches"):
        SingleViewPlan(SizePx(1, 1), 336 + 1)
