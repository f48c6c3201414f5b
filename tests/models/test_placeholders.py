"""Places for images in a prompt: filled, or refused; generated ids hold none of them."""

import pytest
import torch

from tests import checkpoints, inf_checkpoints

TEXT = [5, 6, 7]


@pytest.fixture(params=["xcomposer2", "inf_llava"])
def case(request):
    """A model, its placeholder, one image's inputs and the number of its visual tokens."""
    generator = torch.Generator().manual_seed(0)
    if request.param == "inf_llava":
        model = inf_checkpoints.tiny_model()
        tiles = torch.randint(0, 256, (1, 3, 336, 336), dtype=torch.uint8, generator=generator)
        return model, model.config.image_placeholder, {"tiles": tiles}, 576
    model = checkpoints.tiny_model()
    tiles = torch.randint(0, 256, (1, 3, 336, 336), dtype=torch.uint8, generator=generator)
    return model, model.config.image_token_id, {"tiles": tiles, "image_grids": torch.tensor([[1, 1]])}, 12 * 13 + 1 + 12 * 13


def prompt(placeholder, num_places):
    return torch.tensor([TEXT + [placeholder] * num_places + TEXT])


@torch.no_grad()
def test_places_and_images_that_disagree_are_refused(case):
    model, placeholder, image, num_tokens = case
    for num_places, images, num_found in ((num_tokens, {}, 0), (num_tokens - 1, image, num_tokens), (0, image, num_tokens)):
        ids = prompt(placeholder, num_places)
        said = f"the images have {num_found} visual tokens, the prompt has places for {num_places}"
        with pytest.raises(ValueError, match=said):
            model(ids, **images)
        with pytest.raises(ValueError, match=said):
            model.generate(ids, **images, max_new_tokens=2, do_sample=False)
    assert model(prompt(placeholder, 0)).logits.shape[1] == 2 * len(TEXT)
    assert model(prompt(placeholder, num_tokens), **image).logits.shape[1] == 2 * len(TEXT) + num_tokens


@torch.no_grad()
def test_tiles_without_their_grid_are_refused():
    model = checkpoints.tiny_model()
    with pytest.raises(ValueError, match="tiles and image_grids together"):
        model(prompt(model.config.image_token_id, 313), tiles=torch.zeros(1, 3, 336, 336, dtype=torch.uint8))


@torch.no_grad()
@pytest.mark.parametrize("options", [{"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 1}])
def test_generating_with_an_image_gives_new_ids_only_and_penalties_see_no_others(case, options):
    """Oracle: greedy steps over whole prompts, with the penalties written out."""
    model, placeholder, image, num_tokens = case
    ids, expected = prompt(placeholder, num_tokens), []
    for _ in range(6):
        said = torch.tensor([expected], dtype=torch.long)
        logits_V = model(torch.cat((ids, said), 1), **image, use_cache=False).logits[0, -1]
        chosen = logits_V[said[0]]
        if "repetition_penalty" in options:
            chosen = torch.where(chosen > 0, chosen / 1.5, chosen * 1.5)
        else:
            chosen = torch.full_like(chosen, -torch.inf)
        logits_V[said[0]] = chosen
        expected.append(int(logits_V.argmax()))
    found = model.generate(ids, **image, max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0, **options)
    assert found[0].tolist() == expected


@torch.no_grad()
def test_generated_ids_are_text():
    model, tokenizer = inf_checkpoints.tiny_model(), inf_checkpoints.stub_tokenizer()
    ids = torch.tensor([[*TEXT, *[model.config.image_placeholder] * 576, *TEXT]])
    tiles = torch.zeros(1, 3, 336, 336, dtype=torch.uint8)
    found = model.generate(ids, attention_mask=torch.ones_like(ids), tiles=tiles, max_new_tokens=3, do_sample=False)
    assert isinstance(tokenizer.decode(found[0]), str)
