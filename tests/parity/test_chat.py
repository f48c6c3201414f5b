"""Prompts, ids, masks and answers of the reference's `chat`, through our processor and `generate`; training loss."""

import numpy as np
import pytest
import torch
from PIL import Image

from ixc.conversation import BOS_TEXT, IMAGE_MARKER, render_chat
from ixc.errors import PlaceholderMismatch
from ixc.models.xcomposer2 import XComposer2ImageProcessor, XComposer2Processor
from ixc.models.xcomposer2.targets import IGNORE_INDEX, training_targets
from tests.checkpoints import REFERENCE

CHATS = ["first_round", "second_round_image_in_history", "no_meta", "chinese", "text_only", "text_only_history_no_meta"]
TINY_VOCABULARY = 512


@pytest.fixture(scope="session")
def processor(tokenizer):
    return XComposer2Processor(XComposer2ImageProcessor(), tokenizer)


@pytest.fixture(params=CHATS)
def chat(request, golden):
    return next(chat for chat in golden["chat"] if chat["name"] == request.param)


def process(processor, chat):
    text = render_chat(chat["meta_instruction"], chat["history"], chat["query"])
    if not chat.get("image"):
        return processor(BOS_TEXT + text)
    pixels = np.asarray(Image.open(REFERENCE / chat["image"]).convert("RGB"))
    return processor(text, pixels, chat["hd_num"])


def test_ids_and_places_of_the_image(chat, processor):
    ids = process(processor, chat)["input_ids"][0].tolist()
    text_ids = [i for i in ids if i != processor.image_token_id]
    assert text_ids == [i for call in chat["tokenizer_calls"] for i in call["ids"]]
    is_visual = [int(i == processor.image_token_id) for i in ids]
    expected = [value for value, length in chat["im_mask_runs"] for _ in range(length)]
    assert is_visual == expected


def test_answer(chat, processor, model):
    """The tiny vocabulary is fed the real ids modulo 512, as the golden data was made."""
    inputs = process(processor, chat)
    is_visual = inputs["input_ids"] == processor.image_token_id
    input_ids = torch.where(is_visual, model.config.image_token_id, inputs["input_ids"] % TINY_VOCABULARY)
    # Text that happens to equal the tiny placeholder id would be taken for an image.
    assert ((input_ids == model.config.image_token_id) == is_visual).all()
    options = {"max_new_tokens": 12, "do_sample": False, "repetition_penalty": 1.005, "eos_token_id": [2, 382]}
    if "tiles" in inputs:
        ids = model.generate(input_ids, tiles=inputs["tiles"], image_grids=inputs["image_grids"], **options)[0].tolist()
    else:
        ids = model.generate(input_ids, attention_mask=torch.ones_like(input_ids), **options)[0].tolist()
        ids = ids[input_ids.shape[1] :]
    assert ids == chat["generated_ids"]


def test_two_images_in_one_prompt(processor, golden):
    expected = golden["two_images"]
    text = render_chat("", [], expected["query"])
    pixels = [np.asarray(Image.open(REFERENCE / name).convert("RGB")) for name in expected["images"]]
    ids = processor(text, pixels, expected["hd_num"])["input_ids"][0]
    assert len(ids) == expected["length"]
    visual = (ids == processor.image_token_id).nonzero().flatten().tolist()
    first_start, first_stop, second_start, second_stop = expected["im_positions"][0]
    assert visual == [*range(first_start, first_stop), *range(second_start, second_stop)]


def test_equal_prompts_of_a_batch_get_an_image_each(processor):
    prompt = f"{IMAGE_MARKER}Read it."
    images = [np.zeros((40, 60, 3), np.uint8), np.zeros((60, 40, 3), np.uint8)]
    batch = processor([prompt] * 2, images, max_patches=4)
    for row, image in zip(batch["input_ids"], images, strict=True):
        alone = processor(prompt, image, max_patches=4)["input_ids"][0]
        assert row[-len(alone) :].tolist() == alone.tolist()


def test_wrong_number_of_markers_is_refused(processor):
    pixels = np.zeros((40, 60, 3), np.uint8)
    with pytest.raises(PlaceholderMismatch, match="2 <ImageHere> markers for 1 images"):
        processor(f"{IMAGE_MARKER} and {IMAGE_MARKER}", pixels)
    with pytest.raises(PlaceholderMismatch, match="0 <ImageHere> markers for 1 images"):
        processor("nothing", pixels)


def test_chat_template_is_the_prompt_format(processor):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Its colour?"},
    ]
    rendered = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert rendered == render_chat("Be brief.", [(IMAGE_MARKER + "What is it?", "A cat.")], "Its colour?")


@pytest.mark.parametrize("index", range(3))
def test_training_targets(index, golden, tokenizer):
    expected = golden["training_targets"][index]
    ids = tokenizer(expected["tokenized_text"])["input_ids"]
    assert ids == expected["ids"]
    assert training_targets(ids, tokenizer) == expected["targets"]


def test_training_loss(golden, tokenizer, model, image_embeds):
    expected = golden["training_loss"]
    image = image_embeds(expected["image"], expected["hd_num"])
    before, after = expected["ids_before"], expected["ids_after"]
    labels = training_targets(before + after, tokenizer)
    labels = labels[: len(before)] + [IGNORE_INDEX] * len(image) + labels[len(before) :]
    assert sum(label != IGNORE_INDEX for label in labels) == expected["num_labels"]
    labels = torch.tensor([[label if label < 0 else label % TINY_VOCABULARY for label in labels]])
    with torch.no_grad():
        text = [model.model.tok_embeddings(torch.tensor(ids) % TINY_VOCABULARY) for ids in (before, after)]
        embeds = torch.cat([text[0], image, text[1]])[None]
        mask = torch.zeros(embeds.shape[:2])
        mask[:, len(before) : len(before) + len(image)] = 1
        loss = model(inputs_embeds=embeds, im_mask=mask, labels=labels).loss
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-4)
