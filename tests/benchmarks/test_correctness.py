"""The check against float32: fine where it should be, and what it would find."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from ixc.benchmarks.correctness import compare_with_float32
from ixc.benchmarks.random_weights import small_config
from ixc.chat.static_decode import DecodeMode
from ixc.models.precision import Precision
from ixc.models.xcomposer2 import VisualSpans
from ixc.models.xcomposer2.blocked_cache import BlockedCache

CPU = torch.device("cpu")
needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="pip install torchao, see requirements-gpu.txt")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("precision", "mode"),
    [
        (Precision.BF16, DecodeMode.STATIC),
        (Precision.FP16, DecodeMode.STATIC),
        (Precision.FP32, DecodeMode.DYNAMIC),
        pytest.param(Precision.INT8, DecodeMode.STATIC, marks=needs_torchao),
        pytest.param(Precision.INT4, DecodeMode.STATIC, marks=needs_torchao),
    ],
)
def test_every_precision_is_near_float32_from_the_prompt_to_the_second_turn(pixels, precision, mode):
    found = compare_with_float32(small_config(), CPU, precision, pixels, 2, mode)
    assert found.is_fine, found
    assert (found.precision, found.decoded_as) == (precision, mode)
    assert found.num_prompt_tokens == 16 + (12 * 13 + 1 + 12 * 13) + 16  # text, global view, separator, one tile, text
    if precision is not Precision.FP32:  # two ways, not one compared with itself
        assert min(found.relative_error, found.decoding_error, found.second_turn_error, found.kept_error) > 1e-4


def test_a_forgotten_branch_would_show(pixels, monkeypatch):
    monkeypatch.setattr(VisualSpans, "clip", lambda self, start, stop: VisualSpans(((),)))  # the runner without Partial LoRA
    assert not compare_with_float32(small_config(), CPU, Precision.BF16, pixels, 2).is_fine


def test_wrong_decoding_would_show_and_so_would_what_it_leaves_to_the_next_turn(pixels, monkeypatch):
    """A step that sees nothing before it, then an answer that is given back from the wrong place."""

    def compare():
        return compare_with_float32(small_config(), CPU, Precision.BF16, pixels, 2, DecodeMode.STATIC)

    place, read = BlockedCache.place, BlockedCache.read

    def forgetful(cache, num_blocks):
        found = place(cache, num_blocks)
        return replace(found, bias=found.bias.masked_fill(cache._positions_M11K[:num_blocks] < cache.position_1, -torch.inf))

    with monkeypatch.context() as patched:
        patched.setattr(BlockedCache, "place", forgetful)
        wrong = compare()
    assert not wrong.is_fine
    assert wrong.relative_error < 0.05 < wrong.decoding_error
    monkeypatch.setattr(BlockedCache, "read", lambda cache, index, start, stop: read(cache, index, 0, stop - start))
    wrong = compare()
    assert not wrong.is_fine
    assert max(wrong.relative_error, wrong.decoding_error) < 0.05 < wrong.kept_error
