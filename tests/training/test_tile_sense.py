"""The model is taught which tile a token lies in: the tiles must be the right ones, and the loss that of knowing them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ixc.tiling import TILE_PX, SizePx, plan_tiles
from ixc.training.joint_stage import JointStage
from ixc.training.language_stage import LanguageStage
from ixc.training.stages import Kit
from ixc.training.tile_sense import MOST, UNKNOWN, TileSense, hidden_after, tiles_of_tokens, tiles_of_written


@given(st.integers(40, 900), st.integers(40, 900), st.sampled_from([1, 2, 4, 9, 16, 25]))
def test_a_token_lies_in_the_tile_that_shows_its_part_of_the_image(height, width, budget):
    """Oracle: the middle of what the token sees, put where the image lies on the tiles."""
    plan = plan_tiles(SizePx(height, width), budget)
    tiles = tiles_of_tokens(plan)
    assert tiles.shape == (plan.num_visual_tokens, 3)
    assert (tiles[: plan.local_start] == UNKNOWN).all()
    assert (tiles[list(plan.newline_indices())] == UNKNOWN).all()
    scale_x, scale_y = plan.resized_px.width / width, plan.resized_px.height / height
    for index in range(plan.local_start, plan.num_visual_tokens, 7):
        rect = plan.token_rect(index)
        if rect is None or rect.is_empty:
            continue
        row = ((rect.top + rect.bottom) / 2 * scale_y + plan.padding_px.top) // TILE_PX
        col, place_px = divmod((rect.left + rect.right) / 2 * scale_x + plan.padding_px.left, TILE_PX)
        assert tiles[index].tolist() == [min(row, MOST - 1), min(col, MOST - 1), place_px // 28]


def test_every_token_of_a_tile_has_a_place():
    plan = plan_tiles(SizePx(600, 900), 9)
    places, counts = np.unique(tiles_of_tokens(plan)[:, :2], axis=0, return_counts=True)
    known = {tuple(place): count for place, count in zip(places.tolist(), counts.tolist(), strict=True)}
    assert known.pop((UNKNOWN, UNKNOWN)) == plan.num_visual_tokens - 144 * plan.num_tiles
    assert known == {divmod(tile, plan.grid.cols): 144 for tile in range(plan.num_tiles)}


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 120))
def test_of_a_part_the_tiles_are_counted_from_its_first_row(first_row, num_rows, num_cols):
    """Oracle: token by token, with a new row after each newline."""
    expected, row, col = [], first_row, 0
    for _ in range(num_rows * (num_cols + 1)):
        is_newline = col == num_cols
        place = [min(row // 12 - first_row // 12, 7), min(col // 12, 7), col % 12]
        expected.append([UNKNOWN] * 3 if is_newline else place)
        row, col = (row + 1, 0) if is_newline else (row, col + 1)
    assert tiles_of_written(first_row, num_rows, num_cols).tolist() == expected


def test_a_short_lesson_s_tokens_know_the_tiles_that_their_places_belong_to(tiny_config, tmp_path):
    """Oracle: the codes tell a token's place in its tile; in a row the tile is the next one wherever the places begin anew.

    Only of tokens with text; those before them are counted by their codes alone.
    """
    language = dataclasses.replace(tiny_config.language, noise=0.0, num_short_steps=9, budgets=(1, 4, 9), tokens_per_batch=4096)
    model = {**tiny_config.model, "hidden_size": 192}
    kit = Kit.make(dataclasses.replace(tiny_config, language=language, model=model), tmp_path)
    book, widest = kit.codebook, 0
    places = book.embed(torch.zeros(1, 12, 12, 3, dtype=torch.long))[0]  # empty cells differ by their places alone
    channels = places.flatten(0, 1).std(0) > 0
    for batch in map(LanguageStage(kit).make_batch, range(6)):
        is_visual = batch["input_ids"] == kit.processor.image_token_id
        tiles, codes = batch["tiles_at"][is_visual].tolist(), batch["visual"]
        tile, before = 0, -1
        for (_, col, place), code in zip(tiles, codes, strict=True):
            if torch.allclose(code, book.newline_D):
                assert col == place == UNKNOWN
                tile, before = 0, -1
                continue
            shown = int((places[..., channels] - code[channels]).square().sum(-1).argmin()) % 12
            tile, before = tile + (shown <= before), shown
            has_text = bool(book.logits(code).argmax(-1).any())
            assert (col, place) == ((tile, shown) if has_text else (UNKNOWN, UNKNOWN))
            widest = max(widest, tile * has_text)
    assert widest >= 1


def test_the_loss_is_that_of_naming_row_and_column():
    sense = TileSense(8)
    hidden_BSD = torch.randn(1, 3, 8)
    tiles_BS3 = torch.tensor([[[UNKNOWN, UNKNOWN, UNKNOWN], [0, 2, 11], [1, 3, 5]]])
    guess, _ = sense.loss(hidden_BSD, tiles_BS3)
    assert guess.item() == pytest.approx(2 * math.log(MOST) + math.log(12))
    with torch.no_grad():
        sense.rows.bias[1] = 20.0
        sense.cols.bias[2] = 20.0
        sense.places.bias[7] = 20.0
    _, metrics = sense.loss(hidden_BSD, tiles_BS3)
    assert metrics == {"tile_rows_right": 0.5, "tile_cols_right": 0.5, "places_right": 0.0}


def test_nothing_is_asked_where_no_tile_is_known():
    loss, metrics = TileSense(8).loss(torch.randn(1, 3, 8), torch.full((1, 3, 3), UNKNOWN))
    assert loss.item() == 0
    assert metrics == {}


def test_the_layer_s_output_is_watched_only_inside(make_kit):
    model = make_kit().model.model
    embeds = torch.randn(1, 3, model.config.hidden_size)
    with hidden_after(model, 2) as seen:
        last = model(inputs_embeds=embeds).last_hidden_state
    model(inputs_embeds=embeds)
    assert [each.shape for each in seen] == [last.shape]
    assert torch.allclose(model.norm(seen[0]), last, atol=1e-5)  # of a model with one layer, that one


@pytest.mark.parametrize("stage_class", [LanguageStage, JointStage])
def test_both_stages_teach_it(tiny_config, tmp_path, stage_class):
    language = dataclasses.replace(tiny_config.language, num_short_steps=0, short_share=0.0, tile_weight=0.5)
    joint = dataclasses.replace(tiny_config.joint, tile_weight=0.5, budgets=(4,))
    kit = Kit.make(dataclasses.replace(tiny_config, language=language, joint=joint), tmp_path)
    stage = stage_class(kit)
    batch = next(each for each in map(stage.make_batch, range(9)) if each.get("visual", each.get("tiles")) is not None)
    is_known = batch["tiles_at"][..., 0] != UNKNOWN
    assert (batch["input_ids"][is_known] == kit.processor.image_token_id).all()
    assert is_known.any()
    pointed = batch["pointed_tokens"][batch["pointed_tokens"] >= 0]
    assert is_known.flatten()[pointed].any()  # what answers are read from has text
    loss, metrics = stage.loss(batch)
    loss.backward()
    assert set(metrics) >= {"tile_rows_right", "tile_cols_right"}
    assert stage.extra.tiles.cols.bias.grad.abs().sum() > 0
