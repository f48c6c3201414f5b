"""The cells of a plan against token maps written out by hand, and the rule that says which model cuts how."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixc.dual_perspective import plan_dual_perspective
from ixc.image_layout import DUAL_PERSPECTIVE, DYNAMIC_PARTITION, ImageLayout, LayoutKind, layout_of_config
from ixc.models.presets import PRESETS, find_model
from ixc.plan_cells import cell_rect, plan_cells
from ixc.single_view import SingleViewPlan
from ixc.tiling import SizePx, plan_tiles
from tests.checkpoints import REFERENCE, VL_REFERENCE


def test_a_single_view_of_490_px_has_seven_regions_a_side():
    # 35 x 35 tokens; 7 divides 35 and 8 does not, so regions hold 5 x 5 tokens. Region 8 is row 1, column 1.
    cells = plan_cells(SingleViewPlan(SizePx(height=350, width=700), 490))
    assert (cells.grid.rows, cells.grid.cols, cells.side_px, cells.side_tokens) == (7, 7, 70, 5)
    numbered = [[row * 35 + col for col in range(35)] for row in range(35)]
    assert [list(run) for run in cells.token_ranges(8)] == [numbered[row][5:10] for row in range(5, 10)]
    with pytest.raises(IndexError, match="0 to 48"):
        cells.token_ranges(49)


def test_regions_of_a_single_view_share_the_image_out_evenly():
    plan = SingleViewPlan(SizePx(height=350, width=700), 490)
    rect = cell_rect(plan, 8)  # a seventh of 700 is 100, of 350 is 50
    assert (rect.left, rect.top, rect.right, rect.bottom) == pytest.approx((100, 50, 200, 100))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 64), st.integers(1, 40))
def test_cells_hold_every_token_of_the_map_once_and_every_pixel(height, width, max_patches, view_patches):
    """For both kinds of plan; the tiles' own rectangles and ranges, which other tests check, are the cells'."""
    size = SizePx(height, width)
    tiles = plan_tiles(size, max_patches)
    single = SingleViewPlan(size, 14 * view_patches)
    dual = plan_dual_perspective(size, max_patches)
    for plan in (tiles, single, dual):
        cells = plan_cells(plan)
        tokens = [token for cell in range(cells.num_cells) for run in cells.token_ranges(cell) for token in run]
        assert len(tokens) == len(set(tokens))
        area = sum(
            (r.right - r.left) * (r.bottom - r.top)
            for r in (cell_rect(plan, c) for c in range(cells.num_cells))
            if not r.is_empty
        )
        assert area == pytest.approx(height * width)
        assert cells.size_px == plan.padded_px
    assert sorted(
        t for c in range(plan_cells(single).num_cells) for run in plan_cells(single).token_ranges(c) for t in run
    ) == list(range(view_patches**2))
    for tile in range(tiles.num_tiles):
        assert cell_rect(tiles, tile) == tiles.tile_rect(tile)
        assert plan_cells(tiles).token_ranges(tile) == tiles.tile_token_ranges(tile)


def test_presets_know_how_they_cut_before_anything_is_loaded():
    assert PRESETS["vl-7b"].layout == ImageLayout(LayoutKind.SINGLE_VIEW, 490)
    assert PRESETS["4khd-7b"].layout == PRESETS["ixc-nano"].layout == DYNAMIC_PARTITION
    assert DYNAMIC_PARTITION.plan(SizePx(1600, 3840), 55).num_visual_tokens == 8137
    assert PRESETS["vl-7b"].layout.plan(SizePx(1600, 3840), 55).num_visual_tokens == 1225


def test_a_folder_says_how_it_cuts_in_its_configuration(tmp_path):
    assert layout_of_config(json.loads((VL_REFERENCE / "config.json").read_text())) == ImageLayout(LayoutKind.SINGLE_VIEW, 490)
    assert layout_of_config({"model_type": "llava_llama"}) == DUAL_PERSPECTIVE
    assert layout_of_config(json.loads((REFERENCE / "config.json").read_text())) == DYNAMIC_PARTITION
    folder = tmp_path / "single"
    folder.mkdir()
    assert find_model(str(folder)).layout == DYNAMIC_PARTITION  # no configuration: loading it will fail with a reason
    (folder / "config.json").write_text('{"img_size": 28}')
    assert find_model(str(folder)).layout == ImageLayout(LayoutKind.SINGLE_VIEW, 28)
    (folder / "config.json").write_text('{"img_size": 29}')
    assert find_model(str(folder)).layout == DYNAMIC_PARTITION
