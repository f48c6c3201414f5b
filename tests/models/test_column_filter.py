"""Both exact ways down the columns against Pillow itself, which filters no rows where the width stays."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ixc.models.xcomposer2 import column_filter
from ixc.models.xcomposer2.column_filter import filter_in_float64, filter_in_int8, is_int8_better

WAYS = pytest.mark.parametrize("way", [filter_in_int8, filter_in_float64])


@WAYS
@settings(max_examples=150, deadline=None)
@given(
    height_in=st.integers(1, 500),
    height_out=st.integers(1, 500),
    width=st.integers(1, 40),
    is_black_and_white=st.booleans(),
    seed=st.integers(0, 1000),
)
@example(1, 500, 3, False, 0)
@example(500, 1, 3, True, 0)
@example(2160, 567, 1, False, 0)
@example(100, 1600, 2, True, 0)
def test_columns_are_pillows(way, height_in, height_out, width, is_black_and_white, seed):
    random = np.random.default_rng(seed)
    grey = random.integers(0, 256, (height_in, width), dtype=np.uint8)
    if is_black_and_white:
        grey = (grey > 127).astype(np.uint8) * 255
    canvas = torch.full((height_out, width + 5), 77, dtype=torch.uint8)
    way(torch.from_numpy(grey), canvas[:, 2 : 2 + width])
    expected = np.full((height_out, width + 5), 77, dtype=np.uint8)
    resized = Image.fromarray(grey).resize((width, height_out), Image.Resampling.BILINEAR)
    expected[:, 2 : 2 + width] = np.asarray(resized)
    assert np.array_equal(canvas.numpy(), expected)


def multiply(a, b, largest):
    """As oneDNN, one side made unsigned and undone at the end: sums of two products are cut off at ``largest``."""
    products = (a.int() + 128)[:, :, None] * b.int()[None]
    pairs = torch.nn.functional.pad(products, (0, 0, 0, products.shape[1] % 2)).unflatten(1, (-1, 2)).sum(2)
    return pairs.clamp(-largest - 1, largest).sum(1).int() - 128 * b.int().sum(0)


def missing(a, b):
    raise RuntimeError("not implemented")


@pytest.mark.parametrize(
    ("product", "is_taken"),
    [
        (lambda a, b: multiply(a, b, 2**31 - 1), True),
        (lambda a, b: multiply(a, b, 2**15 - 1), False),  # as without VNNI
        (missing, False),
    ],
)
def test_a_processor_that_multiplies_wrongly_is_found_out(product, is_taken, monkeypatch):
    """By a clock on which products of 8-bit integers take half the time."""
    monkeypatch.setattr(torch, "_int_mm", product)
    seconds = itertools.accumulate(itertools.cycle((0, 1, 0, 2)))
    monkeypatch.setattr(column_filter.time, "perf_counter", seconds.__next__)
    assert is_int8_better.__wrapped__() is is_taken
