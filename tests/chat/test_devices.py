"""The runner keeps all that meets on one device: a model on another one, and one whose eyes are elsewhere."""

import types

import pytest
import torch

from ixc.chat.memory import make_current
from ixc.chat.prompt import EncodedPrompt, ImageSegment, TextSegment
from ixc.chat.runner import ModelRunner
from ixc.conversation import ImageView
from ixc.tiling import SizePx, plan_tiles
from tests.checkpoints import tiny_model
from tests.other_device import DEVICE, move_there, other_device

PLAN = plan_tiles(SizePx(336, 672), 2)
VIEW = ImageView("picture", 2)
GREEDY = types.SimpleNamespace(next_token=lambda logits: int(logits.argmax()))


def answer(runner):
    """The picture's embeddings, and the likeliest ids after a prompt that shows it."""
    tiles = torch.randint(0, 256, (2, 3, 336, 336), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    embeds_TD = runner.embed_image(tiles, PLAN.grid)
    prompt = EncodedPrompt((TextSegment((1, 7, 8)), ImageSegment(VIEW, PLAN), TextSegment((9, 10, 11))))
    cache = runner.new_cache(len(prompt) + 8)
    logits_V = runner.prefill(prompt, {VIEW: embeds_TD}, cache)
    return embeds_TD, list(runner.decode(logits_V, GREEDY, cache, 5))


@pytest.fixture
def runner():
    return ModelRunner(tiny_model(), prefill_chunk_tokens=200, views_per_pass=2, stop_ids=frozenset())


@torch.no_grad()
def test_a_model_on_another_device_says_the_same(runner):
    embeds_TD, ids = answer(runner)
    with other_device():
        move_there(runner.model)
        found_TD, found_ids = answer(runner)
        assert found_TD.device == DEVICE
        assert torch.allclose(found_TD.to("cpu"), embeds_TD, atol=1e-4)
        assert found_ids == ids


@torch.no_grad()
def test_what_eyes_on_another_device_see_comes_to_where_the_text_is(runner):
    """As accelerate spreads a model over two GPUs: each part's inputs are brought to it, its results are not brought back."""
    embeds_TD, ids = answer(runner)
    with other_device():
        for part in (runner.model.vit, runner.model.vision_proj):
            move_there(part)
            part.register_forward_pre_hook(lambda _, args: tuple(each.to(DEVICE) for each in args))
        found_TD, found_ids = answer(runner)
        assert found_TD.device == runner.model.device == torch.device("cpu")
        assert torch.allclose(found_TD, embeds_TD, atol=1e-4)
        assert found_ids == ids


def test_the_worker_takes_its_gpu_for_the_current_one(monkeypatch):
    """A new thread's current GPU is the first, whatever was set in the others."""
    made_current = []
    monkeypatch.setattr(torch.cuda, "set_device", made_current.append)
    for name in ("cpu", "cuda", "cuda:1"):
        make_current(torch.device(name))
    assert made_current == [torch.device("cuda:1")]
