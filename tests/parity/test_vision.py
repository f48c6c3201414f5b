"""Pixels, vision tower, merge, newline and separator, projector."""

import pytest
import torch
from torch.testing import assert_close

from ixc.models.xcomposer2.vision import make_views
from ixc.tiling import TILE_PX, SizePx, plan_tiles

IMAGES = {"img_landscape": (1, 2, 4, 9), "img_portrait": (1, 2, 4, 9), "img_wide": (1, 2, 4, 9), "img_landscape2": (4,)}
CASES = [(name, budget) for name, budgets in IMAGES.items() for budget in budgets]
PIXELS_CLOSE, GLOBAL_VIEW_CLOSE = {"rtol": 0, "atol": 1e-6}, {"rtol": 0, "atol": 1e-5}
FEATURES_CLOSE = {"rtol": 0, "atol": 2e-5}  # float32 against float64 gave 7e-6 and 5e-6 (README)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}.hd{case[1]}")
def case(request):
    return request.param


def test_plan_agrees_with_what_the_reference_did(case, golden):
    name, budget = case
    expected = golden["images"][name][f"hd{budget}"]
    width, height = golden["images"][name]["size"]
    plan = plan_tiles(SizePx(height, width), budget)
    assert [plan.grid.rows, plan.grid.cols] == expected["grid_hw"]
    assert plan.num_visual_tokens == expected["num_tokens"]
    pad, resized = plan.padding_px, plan.resized_px
    box = [pad.left, pad.top, pad.left + resized.width, pad.top + resized.height]
    assert box == expected["nonwhite_box_xyxy"]


def test_normalised_pixels_and_global_view(case, image_inputs, tensors):
    name, budget = case
    tiles, grid = image_inputs(name, budget)
    views = make_views(tiles, grid, torch.float32)
    padded = views[1:].view(grid.rows, grid.cols, 3, TILE_PX, TILE_PX).permute(2, 0, 3, 1, 4)
    padded = padded.reshape(3, grid.rows * TILE_PX, grid.cols * TILE_PX)
    centre_y, centre_x = padded.shape[1] // 2, padded.shape[2] // 2
    key = f"{name}.hd{budget}."
    centre = padded[:, centre_y - 4 : centre_y + 4, centre_x - 4 : centre_x + 4]
    assert_close(centre, tensors[key + "pixels_center_8x8"], **PIXELS_CLOSE)
    assert_close(padded[:, ::97, ::89], tensors[key + "pixels_stride"], **PIXELS_CLOSE)
    assert_close(views[0][:, ::23, ::19], tensors[key + "global_view_stride"], **GLOBAL_VIEW_CLOSE)


def test_features_before_and_after_the_projector(case, model, image_inputs, tensors):
    name, budget = case
    tiles, grid = image_inputs(name, budget)
    with torch.no_grad():
        feat = model.vision_features(tiles, [grid])[0]
        projected = model.vision_proj(feat)
    for kind, actual in (("vit_out", feat), ("proj_out", projected)):
        key = f"{name}.hd{budget}.{kind}"
        if key in tensors:
            assert_close(actual, tensors[key][0], **FEATURES_CLOSE)
        else:
            assert_close(actual[::7], tensors[key + "_every7"][0], **FEATURES_CLOSE)


def test_images_of_different_size_in_one_call_are_as_one_by_one(model, image_inputs, golden):
    names = golden["multi_image_vit"]["images"]
    prepared = [image_inputs(name, 4) for name in names]
    with torch.no_grad():
        together = model.vision_features(torch.cat([tiles for tiles, _ in prepared]), [grid for _, grid in prepared])
        alone = [model.vision_features(tiles, [grid])[0] for tiles, grid in prepared]
    assert [len(feat) for feat in together] == golden["multi_image_vit"]["split"]
    for a, b in zip(together, alone, strict=True):
        assert_close(a, b, **FEATURES_CLOSE)


def test_tiles_that_do_not_fill_the_grid_are_refused(model, image_inputs):
    tiles, grid = image_inputs("img_landscape", 4)
    with pytest.raises(ValueError, match="3 tiles"):
        make_views(tiles[:3], grid, torch.float32)
