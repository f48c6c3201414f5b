"""The JSON description of a plan, checked against figures worked out by hand from the paper's formulas."""

import json

import pytest

from ixc.dual_perspective import DualPerspectivePlan
from ixc.plan_facts import plan_facts, tile_facts
from ixc.single_view import SingleViewPlan
from ixc.tiling import SizePx, plan_tiles

WIDE = plan_tiles(SizePx(height=1600, width=3840), 25)


def test_a_wide_image_at_25():
    # 7 columns fill 2352 px; 1600 * 2352 / 3840 = 980 rows of pixels, so 3 tile rows of 1008 with 14 px above and below.
    facts = json.loads(json.dumps(plan_facts(WIDE)))
    tiles = facts.pop("tiles")
    assert facts == {
        "layout": "dynamic_partition",
        "original_px": {"height": 1600, "width": 3840},
        "resized_px": {"height": 980, "width": 2352},
        "padded_px": {"height": 1008, "width": 2352},
        "padding_px": {"left": 0, "top": 14, "right": 0, "bottom": 14},
        "tile_px": 336,
        "grid": {"rows": 3, "cols": 7},
        "num_tiles": 21,
        "max_patches": 25,
        "suggested_max_patches": 60,  # 12 columns of 336 hold 3840, and they need 5 rows
        "suggested_shrinks": False,
        "num_views": 22,
        "num_visual_tokens": 3217,
        "num_newline_tokens": 12 + 36,
        "separator_token": 156,
        "scale_factor": 0.6125,
        "padding_share": round(28 / 1008, 6),
        "is_clamped": False,
    }
    assert [tile["tile"] for tile in tiles] == list(range(21))
    assert [(tile["row"], tile["col"]) for tile in tiles] == [(row, col) for row in range(3) for col in range(7)]


def test_one_tile():
    # Tile 11 of the drawing. One padded pixel is 3840/2352 original ones; a token row has 7*12 + 1 = 85 tokens.
    assert tile_facts(WIDE, 10) == {
        "tile": 10,
        "row": 1,
        "col": 3,
        "original_rect": {"left": 1645.71, "top": 525.71, "right": 2194.29, "bottom": 1074.29},
        "tokens": {"first": 157 + 12 * 85 + 36, "last": 2159, "num_runs": 12, "run_tokens": 12, "run_stride": 85},
    }
    with pytest.raises(IndexError):
        tile_facts(WIDE, 21)


def test_a_squashed_view():
    # 700 x 350 on 490 x 490: 0.7 along the width, 1.4 along the height; 35 patches of 14 px a side, one token each.
    facts = plan_facts(SingleViewPlan(SizePx(height=350, width=700), 490))
    assert facts == {
        "layout": "single_view",
        "original_px": {"height": 350, "width": 700},
        "resized_px": {"height": 490, "width": 490},
        "view_px": 490,
        "num_views": 1,
        "num_visual_tokens": 1225,
        "tokens_per_side": 35,
        "scale_factor_x": 0.7,
        "scale_factor_y": 1.4,
        "padding_share": 0.0,
    }


def test_a_dual_perspective():
    # 900 x 100 in a square of 900: 400 px above and below; at 1008 px 1.12 of each, 448 px.
    facts = json.loads(json.dumps(plan_facts(DualPerspectivePlan(SizePx(height=100, width=900), 1008))))
    blocks = facts.pop("blocks")
    assert facts == {
        "layout": "dual_perspective",
        "original_px": {"height": 100, "width": 900},
        "resized_px": {"height": 112, "width": 1008},
        "padded_px": {"height": 1008, "width": 1008},
        "padding_px": {"left": 0, "top": 448, "right": 0, "bottom": 448},
        "input_px": 1008,
        "max_patches": 9,
        "num_views": 10,
        "num_visual_tokens": 576,
        "tokens_per_side": 24,
        "scale_factor": 1.12,
        "padding_share": round(8 / 9, 6),
    }
    # The middle row of blocks holds square pixels 336 to 672, all of the picture; a third of 900 columns each.
    assert [block["original_rect"] for block in blocks[:4]] == [
        None,
        None,
        None,
        {"left": 0, "top": 0, "right": 300, "bottom": 100},
    ]


def test_every_local_token_that_is_no_newline_is_in_exactly_one_tile():
    plan = plan_tiles(SizePx(700, 500), 6)
    covered = []
    for tile in plan_facts(plan)["tiles"]:
        tokens = tile["tokens"]
        for run in range(tokens["num_runs"]):
            start = tokens["first"] + run * tokens["run_stride"]
            covered += range(start, start + tokens["run_tokens"])
        assert covered[-1] == tokens["last"]
    row_tokens = 12 * plan.grid.cols + 1
    local = [157 + n for n in range(12 * plan.grid.rows * row_tokens) if n % row_tokens != row_tokens - 1]
    assert sorted(covered) == local


def test_a_tile_of_padding_only_has_no_pixels():
    plan = plan_tiles(SizePx(height=1, width=3000), 1)
    assert plan_facts(plan)["is_clamped"]
    assert plan_facts(plan)["tiles"][0]["original_rect"] == {"left": 0.0, "top": 0.0, "right": 3000, "bottom": 1}


def test_the_suggestion_keeps_to_the_installations_limit():
    assert plan_facts(WIDE, max_patches_limit=30)["suggested_max_patches"] == 21  # seven by three, as with 30
    assert plan_facts(WIDE, max_patches_limit=30)["suggested_shrinks"]
