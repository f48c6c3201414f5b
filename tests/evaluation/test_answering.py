"""The benchmark prompt and its answers, against the recorded prompt and against plain ``generate`` over the whole prompt."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ixc.chat.static_decode import DecodeMode, StaticDecoder, make_static_decoder
from ixc.conversation import TURN_END
from ixc.errors import ConversationTooLong, ImageTooLarge, ImageUnreadable, OutOfMemory
from ixc.evaluation.answering import ReferenceAnswerer, load_pixels
from ixc.evaluation.tasks import REFERENCE_GENERATION, evaluation_prompt
from ixc.settings import GenerationSettings
from tests.checkpoints import REFERENCE, VL_REFERENCE, real_tokenizer

IMAGES = tuple(REFERENCE / f"{name}.png" for name in ("img_landscape", "img_portrait"))
MAX_PATCHES = 2
GREEDY = GenerationSettings(max_new_tokens=8, do_sample=False, num_beams=1, repetition_penalty=1.0)
BEAMS = GenerationSettings(max_new_tokens=8, do_sample=False, num_beams=3, repetition_penalty=1.0)


def test_the_prompt_is_the_recorded_one():
    spec = json.loads((VL_REFERENCE / "golden.json").read_text(encoding="utf-8"))["eval_style"]
    text = evaluation_prompt("What is shown?")
    assert text == spec["text"]
    before, after = (call["ids"] for call in spec["tokenizer_calls"])
    tokenizer = real_tokenizer()
    assert before == [tokenizer.bos_token_id]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == after


def test_the_reference_s_settings():
    assert GenerationSettings(100, do_sample=False, repetition_penalty=1.0, num_beams=3) == REFERENCE_GENERATION


@torch.no_grad()
def generated(engine, path: Path, question: str, settings: GenerationSettings) -> str:
    """BOS, image, text to ``generate`` in one piece; the text up to the end of the turn."""
    model, processor = engine.runner.model, engine.processor
    images = processor.image_processor(np.asarray(Image.open(path).convert("RGB")), max_patches=MAX_PATCHES)
    text = f"[UNUSED_TOKEN_146]user\nAnswer the question using a single word or phrase.{question}[UNUSED_TOKEN_145]\n"
    after = processor.tokenizer(text + "[UNUSED_TOKEN_146]assistant\n")["input_ids"][1:]
    rows, cols = images["image_grids"][0].tolist()
    num_visual = 144 * (rows * cols + 1) + 12 * (rows + 1) + 1
    ids = torch.tensor([[1, *[processor.image_token_id] * num_visual, *after]])
    new = model.generate(
        ids,
        tiles=images["tiles"],
        image_grids=images["image_grids"],
        attention_mask=torch.ones_like(ids),
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.num_beams,
        do_sample=False,
        eos_token_id=2,
        pad_token_id=2,
    )[0].tolist()
    return processor.tokenizer.decode(new).split(TURN_END)[0].replace("</s>", "").strip()


@pytest.mark.parametrize("settings", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_answers_are_those_of_plain_generation_also_when_the_image_is_seen_already(engine, settings):
    answerer = ReferenceAnswerer(engine, MAX_PATCHES, settings)
    landscape, portrait = IMAGES
    asked = ((landscape, "Why?"), (landscape, "What is the number in the corner?"), (portrait, "Why?"), (landscape, "Why?"))
    answers = [answerer.answer(path, question).text for path, question in asked]
    assert answers == [generated(engine, path, question, settings) for path, question in asked]
    assert len(set(answers)) == 3, "the model does not look at its input"


@pytest.fixture
def turn_end_weights(engine):
    """The output layer's row for the end of the turn; put back afterwards."""
    row_D = engine.runner.model.output.weight.data[engine.processor.tokenizer.convert_tokens_to_ids(TURN_END)]
    before = row_D.clone()
    yield row_D
    row_D.copy_(before)


@pytest.mark.parametrize("settings", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_an_answer_is_cut_at_the_end_of_the_turn_and_beams_run_on_to_the_end_of_the_text(engine, settings, turn_end_weights):
    """Give the end of the turn the weights of a token that the model does say, a bit larger: now it says that instead."""
    answerer = ReferenceAnswerer(engine, MAX_PATCHES, settings)
    said = answerer.answer(IMAGES[0], "Why?").text
    third_last = engine.processor.tokenizer(said, add_special_tokens=False)["input_ids"][-3]
    turn_end_weights.copy_(engine.runner.model.output.weight[third_last] * 1.001)
    answer = answerer.answer(IMAGES[0], "Why?")
    assert answer.text == generated(engine, IMAGES[0], "Why?", settings)
    assert answer.text != said
    assert TURN_END not in answer.text
    if settings is BEAMS:
        assert answer.num_new_tokens == settings.max_new_tokens


def test_prompt_tokens_are_counted(engine):
    # One tile: 144 * 2 + 12 * 2 + 1 visual tokens.
    answer = ReferenceAnswerer(engine, 1, GREEDY).answer(IMAGES[0], "Why?")
    num_text = len(engine.processor.tokenizer(evaluation_prompt("Why?"))["input_ids"])  # BOS among them
    assert answer.num_prompt_tokens == 313 + num_text
    assert answer.num_new_tokens == GREEDY.max_new_tokens
    assert answer.elapsed_ms > 0


def test_the_engine_s_fixed_buffers_answer_greedy_questions(engine, monkeypatch):
    """As on a GPU: two questions about an image."""
    given, decoding = [], StaticDecoder.decoding

    def note(decoder, cache, max_new_tokens):
        given.append(cache.length)
        return decoding(decoder, cache, max_new_tokens)

    monkeypatch.setattr(StaticDecoder, "decoding", note)
    ordinary = ReferenceAnswerer(engine, MAX_PATCHES, GREEDY)
    model = engine.runner.model
    monkeypatch.setattr(engine.runner, "static", make_static_decoder(model, model.config.max_context_tokens, DecodeMode.STATIC))
    buffered = ReferenceAnswerer(engine, MAX_PATCHES, GREEDY)
    for question in ("What is shown?", "How many?"):
        expected = ordinary.answer(IMAGES[0], question)
        found = buffered.answer(IMAGES[0], question)
        assert (found.text, found.num_new_tokens) == (expected.text, expected.num_new_tokens)
    assert len(given) == 2


def test_pixels_are_the_reference_s_not_the_app_s(tmp_path):
    """``convert("RGB")``: transparency shows the colour below it, and the orientation tag is not obeyed."""
    picture = Image.new("RGBA", (4, 2), (10, 20, 30, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "clear.png", exif=exif)
    pixels = load_pixels(tmp_path / "clear.png")
    assert pixels.shape == (2, 4, 3)
    assert (pixels == (10, 20, 30)).all()


def test_a_damaged_image_is_named(engine, tmp_path):
    path = tmp_path / "half.png"
    path.write_bytes(IMAGES[0].read_bytes()[:200])
    answerer = ReferenceAnswerer(engine, MAX_PATCHES, GREEDY)
    with pytest.raises(ImageUnreadable, match=r"half\.png cannot be opened; copy or download it again"):
        answerer.answer(path, "Why?")
    assert answerer.answer(IMAGES[0], "Why?").text, "and the next question works"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_that_pillow_takes_for_an_attack_is_opened_up_to_the_own_limit(monkeypatch, tmp_path):
    path = tmp_path / "poster.png"
    Image.new("RGB", (600, 500)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # a third of it: Pillow refuses from twice that
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    assert load_pixels(path).shape == (500, 600, 3)
    assert Image.MAX_IMAGE_PIXELS == 100_000
    monkeypatch.setattr("ixc.evaluation.answering.MAX_MEGAPIXELS", 0.2)
    with pytest.raises(ImageTooLarge, match=r"poster\.png has more than the 0\.2 megapixels that are opened; downscale it"):
        load_pixels(path)
    monkeypatch.setattr("ixc.evaluation.answering.MAX_MEGAPIXELS", 0.1)
    with pytest.raises(ImageTooLarge, match=r"more than the 0\.1 megapixels"):
        load_pixels(path)


def test_a_prompt_beyond_the_context_is_refused(engine, monkeypatch):
    monkeypatch.setattr(engine.runner.model.config, "max_context_tokens", 320, raising=False)
    with pytest.raises(ConversationTooLong, match=r"img_landscape.png has \d+ tokens, the model takes 320; lower the max"):
        ReferenceAnswerer(engine, 1, GREEDY).answer(IMAGES[0], "Why is it so long, and what is below it on the left?")


def test_what_will_not_fit_is_refused_before_it_runs(engine, monkeypatch):
    monkeypatch.setattr(engine.admission, "free_bytes", lambda device: 1000)
    with pytest.raises(OutOfMemory, match=r"img_landscape\.png needs about 0\.\d GB of memory and 0\.0 GB are free"):
        ReferenceAnswerer(engine, 1, GREEDY).answer(IMAGES[0], "Why?")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: ...")])
def test_running_out_of_memory_is_one_sentence(engine, monkeypatch, error):
    def fail(*args):
        raise error

    monkeypatch.setattr("ixc.chat.runner.ModelRunner.embed_image", fail)
    with pytest.raises(
        OutOfMemory, match=r"ran out of memory at img_landscape\.png; lower the max patches or the number of beams"
    ):
        ReferenceAnswerer(engine, 1, GREEDY).answer(IMAGES[0], "Why?")
