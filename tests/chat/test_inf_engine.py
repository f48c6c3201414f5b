"""The engine with INF-LLaVA: the reference's tokens, reuse across turns, Stop."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ixc.chat.events import Finished, TextDelta
from ixc.chat.loading import load_engine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import LLAMA3_CHAT, ImageView, Turn
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings, Settings
from tests.inf_checkpoints import REFERENCE, write_inf_checkpoint

GREEDY = GenerationSettings(max_new_tokens=8, do_sample=False, repetition_penalty=1.0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    built = load_engine(Settings(model=str(write_inf_checkpoint(tmp_path_factory.mktemp("inf")))))
    yield built
    built.close()


@pytest.fixture(scope="module")
def image():
    return DecodedImage.from_pixels(np.asarray(Image.open(REFERENCE / "image_a.png").convert("RGB")))


def ask(engine, image, question, *, session="one", turns=(), budget=1):
    view = ImageView(image.image_id, budget)
    request = ChatRequest(
        session_id=session,
        question=question,
        view=view,
        turns=turns,
        images={image.image_id: image},
        system=LLAMA3_CHAT.default_system,
        generation=GREEDY,
    )
    events = list(engine.answer(request, StopFlag()))
    assert isinstance(events[-1], Finished)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1].stats


@pytest.mark.parametrize(("budget", "case"), [(1, "cli336"), (9, "train1008")])
def test_greedy_answers_are_the_references(engine, image, budget, case):
    recorded = load_file(REFERENCE / "end_to_end.safetensors")
    new_ids = recorded[f"{case}.greedy8"][0].tolist()[1:]  # the official run returns a leading BOS
    expected = b"".join(engine.processor.tokenizer.token_bytes(token) for token in new_ids)
    text, stats = ask(engine, image, "What is shown?", session=case, budget=budget)
    assert text == expected.decode(errors="replace")
    assert stats.num_visual_tokens == 576
    assert stats.num_prompt_tokens == 204 + 576


def test_a_second_turn_runs_only_what_is_new(engine, image):
    answer, first = ask(engine, image, "What is shown?", session="turns")
    turns = (Turn("What is shown?", answer, ImageView(image.image_id, 1)),)
    again, second = ask(engine, image, "What colour?", session="turns", turns=turns)
    fresh, unshared = ask(engine, image, "What colour?", session="fresh", turns=turns)
    assert again == fresh
    assert unshared.num_cached_tokens == 0
    assert second.num_cached_tokens >= first.num_prompt_tokens


def test_the_layout_and_the_costs_are_known(engine, image):
    plan = engine.layout.plan(image.size_px, engine.default_max_patches)
    assert plan.num_visual_tokens == 576
    estimate = engine.estimate(plan)
    assert estimate.memory_bytes > 0
    assert estimate.time_to_first_token_ms > 0


def test_stop_ends_the_answer(engine, image):
    stop = StopFlag()
    stop.set()
    request = ChatRequest("stopped", "Why?", ImageView(image.image_id, 1), (), {image.image_id: image}, "", GREEDY)
    *_, last = engine.answer(request, stop)
    assert isinstance(last, Finished)
    assert torch.is_inference_mode_enabled() is False
