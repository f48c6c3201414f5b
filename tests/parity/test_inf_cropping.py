"""Cropping, attention, enhancement and resizing of INF-LLaVA against the official modules' recorded results."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import interpolate

from ixc.models.inf_llava.cropping import combine_blocks, combine_strided, crop_blocks, crop_strided
from ixc.models.inf_llava.enhancement import AttentionBlock, DualPerspectiveEnhancement
from tests.inf_checkpoints import REFERENCE

WIDTH, HEADS, GRID = 32, 8, 24
EXACT = {"rtol": 0, "atol": 0}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def cropped():
    return load_file(REFERENCE / "dcm.safetensors")


@pytest.mark.parametrize("n", [2, 3])
def test_crops_are_the_recorded_ones(cropped, n):
    torch.testing.assert_close(crop_blocks(cropped["input"], n), cropped[f"crop_N{n}"], **EXACT)
    torch.testing.assert_close(crop_strided(cropped["input"], n), cropped[f"stride_N{n}"], **EXACT)


@pytest.mark.parametrize("n", [2, 3])
def test_maps_are_put_together_as_recorded(cropped, n):
    parts = cropped["feat_list"][: n * n]
    torch.testing.assert_close(combine_blocks(parts, n), cropped[f"combine_crop_n{n}"], **EXACT)
    torch.testing.assert_close(combine_strided(parts, n), cropped[f"combine_stride_n{n}"], **EXACT)


def test_the_attention_block_and_its_probabilities():
    recorded = load_file(REFERENCE / "mha.safetensors")
    block = AttentionBlock(WIDTH, HEADS)
    block.load_state_dict({key.removeprefix("weight."): value for key, value in recorded.items() if key.startswith("weight.")})
    with torch.no_grad():
        torch.testing.assert_close(block(recorded["q"], recorded["kv"]), recorded["out"], **CLOSE)
        # The block's own projections must give the recorded probabilities under the plain formula.
        query, key = (
            linear(source).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for linear, source in zip(block.linears, (recorded["q"], recorded["kv"]), strict=False)
        )
        probabilities = (query @ key.transpose(-1, -2) / (WIDTH / HEADS) ** 0.5).softmax(-1)
    torch.testing.assert_close(probabilities, recorded["attn_probs"], **CLOSE)


def enhancement_and_features(n):
    recorded = load_file(REFERENCE / f"spatial_embed_n{n}.safetensors")
    module = DualPerspectiveEnhancement(WIDTH, HEADS, n, GRID)
    prefix = "weight.model.spatial_embed."
    module.load_state_dict({key.removeprefix(prefix): value for key, value in recorded.items() if key.startswith(prefix)})
    features = recorded["feats"].float()
    return module.eval(), features[: n * n], features[n * n :], recorded


@pytest.mark.parametrize("n", [2, 3])
def test_every_recorded_step_of_the_enhancement(n):
    module, local, strided, recorded = enhancement_and_features(n)
    calls = []
    module.attention.register_forward_hook(lambda _module, _inputs, output: calls.append(output[:, ::37]))
    with torch.no_grad():
        stride_map, crop_map = module.enhance(local, strided)
        fused = module.fuse(stride_map, crop_map)
        out = module.reduce(fused)
    assert len(calls) == 2 * n * n
    torch.testing.assert_close(stride_map[:, ::5, ::5], recorded["stride_query_map_sub5"], **CLOSE)
    torch.testing.assert_close(crop_map[:, ::5, ::5], recorded["crop_query_map_sub5"], **CLOSE)
    torch.testing.assert_close(fused[:, ::5, ::5], recorded["fused_map_sub5"], **CLOSE)
    torch.testing.assert_close(out, recorded["out"], **CLOSE)
    torch.testing.assert_close(calls[0], recorded["attn_call_first_sub37"], **CLOSE)
    torch.testing.assert_close(calls[-1], recorded["attn_call_last_sub37"], **CLOSE)


def test_the_short_cut_equals_the_full_computation():
    module, local, strided, recorded = enhancement_and_features(3)
    with torch.no_grad():
        short = module.short_cut(local, strided[4])
        full = module(local, strided)
    torch.testing.assert_close(short, full, rtol=0, atol=1e-6)
    torch.testing.assert_close(short, recorded["out"], **CLOSE)


def test_the_short_cut_is_refused_where_every_view_matters():
    module, local, strided, _ = enhancement_and_features(2)
    assert not module.has_short_cut
    with pytest.raises(ValueError, match="every strided view"):
        module.short_cut(local, strided[0])


def test_resizing_is_the_recorded_one():
    recorded = load_file(REFERENCE / "interp.safetensors")
    for size in ((15, 21), (3, 3)):
        resized = interpolate(recorded["in"], size, mode="bicubic", align_corners=False)
        torch.testing.assert_close(resized, recorded[f"bicubic_{size[0]}x{size[1]}"], **CLOSE)
    module = DualPerspectiveEnhancement(16, 1, 2, 3)
    reduced = module.reduce(recorded["bilinear_in"].permute(0, 2, 3, 1))
    torch.testing.assert_close(reduced.view(1, 1, 3, 3), recorded["bilinear_6to3"], **CLOSE)
