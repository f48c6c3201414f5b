"""Pillow's antialiased bilinear filter down the columns of 8-bit pixels, exactly, as products with banded matrices.

Pillow's fixed-point weights have 22 bits. Where the processor multiplies 8-bit integers exactly and fast (VNNI), each weight is
split into three digits of 8 bits, and pixels go into the product as they are. Elsewhere the product is in float64, which is
exact too but takes about twice as long. float32 would not do: it decides exact halves, of which there are many, by chance.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

_WEIGHT_BITS = 22
_BLOCK_ROWS_INT8, _BLOCK_ROWS_FLOAT64 = 16, 8
"""Output rows of one matrix product: more waste arithmetic on the matrix's zeros, fewer are too small to be quick."""
_PIXEL_OFFSET = 128
"""Unsigned pixels as signed: the product takes signed numbers on both sides."""
_NUM_DIGITS, _DIGIT_BASE = 3, 256
_TRIAL_ROWS, _TRIAL_WIDTH = (96, 32), 768
_NUM_TRIALS = 5


def filter_columns(rows_in: Tensor, rows_out: Tensor) -> None:
    """uint8 [height in, W] to the height of ``rows_out`` [height out, W], rounded half up as Pillow does, written there."""
    (filter_in_int8 if is_int8_better() else filter_in_float64)(rows_in, rows_out)


def filter_in_float64(rows_in: Tensor, rows_out: Tensor) -> None:
    """As ``filter_columns``; the same values on any processor."""
    starts, matrices = _float64_matrices(rows_in.shape[0], rows_out.shape[0])
    half = torch.tensor(0.5, dtype=torch.float64)
    for matrix, start, out in zip(matrices, starts, rows_out.split(_BLOCK_ROWS_FLOAT64), strict=True):
        rows = rows_in[start : start + matrix.shape[1]].double()
        out.copy_(torch.addmm(half, matrix[: len(out)], rows))  # cut off to whole numbers


def filter_in_int8(rows_in: Tensor, rows_out: Tensor) -> None:
    """As ``filter_columns``, where ``is_int8_better``; all sums fit 32 bits."""
    starts, matrices, offsets = _int8_matrices(rows_in.shape[0], rows_out.shape[0])
    for matrix, offset, start, out in zip(matrices, offsets, starts, rows_out.split(_BLOCK_ROWS_INT8), strict=True):
        rows = (rows_in[start : start + matrix.shape[1]] ^ _PIXEL_OFFSET).view(torch.int8)
        high, middle, low = torch._int_mm(matrix, rows).view(_NUM_DIGITS, _BLOCK_ROWS_INT8, -1)
        middle.add_(high, alpha=_DIGIT_BASE)
        sums = low.add_(middle, alpha=_DIGIT_BASE).add_(offset).bitwise_right_shift_(_WEIGHT_BITS)
        out.copy_(sums[: len(out)])


@functools.cache
def is_int8_better() -> bool:
    """Whether products of 8-bit integers are exact here, and faster: tried once, in milliseconds.

    Without VNNI oneDNN's saturated (pytorch issue 136746); since then PyTorch goes without oneDNN there, exact and slow.
    """
    if not hasattr(torch, "_int_mm"):
        return False
    generator = torch.Generator().manual_seed(0)
    height_in, height_out = _TRIAL_ROWS
    # Black and white: whatever saturates does so at the largest numbers.
    rows_in = torch.randint(0, 2, (height_in, _TRIAL_WIDTH), dtype=torch.uint8, generator=generator) * 255
    by_int8, by_float64 = (torch.empty(height_out, _TRIAL_WIDTH, dtype=torch.uint8) for _ in range(2))
    works = (lambda: filter_in_int8(rows_in, by_int8), lambda: filter_in_float64(rows_in, by_float64))
    with torch.inference_mode():
        try:
            times_s = [[_seconds(work) for work in works] for _ in range(_NUM_TRIALS + 1)][1:]
        except RuntimeError as error:
            logger.info("no products of 8-bit integers here: %s", type(error).__name__)
            return False
    int8_s, float64_s = map(min, zip(*times_s, strict=True))
    is_exact = torch.equal(by_int8, by_float64)
    logger.info(
        "resizing by 8-bit products is %s and takes %.2f of the time", "exact" if is_exact else "wrong", int8_s / float64_s
    )
    return is_exact and int8_s < float64_s


@functools.lru_cache(maxsize=32)
def _float64_matrices(size_in: int, size_out: int) -> tuple[list[int], Tensor]:
    """First input of each block of outputs, and matrices [blocks, rows of a block, inputs of a block]."""
    starts, weights = _banded_weights(size_in, size_out, _BLOCK_ROWS_FLOAT64)
    return starts, torch.from_numpy(weights / 2**_WEIGHT_BITS)


@functools.lru_cache(maxsize=32)
def _int8_matrices(size_in: int, size_out: int) -> tuple[list[int], Tensor, Tensor]:
    """As ``_float64_matrices``, the highest digit's rows first: int8 [blocks, digits * rows, inputs].

    And what is added to a block's sums, int32 [blocks, rows, 1]: one half, and what the pixels' offset took away.
    """
    starts, weights = _banded_weights(size_in, size_out, _BLOCK_ROWS_INT8)
    offsets = _PIXEL_OFFSET * weights.sum(axis=2, keepdims=True) + 2 ** (_WEIGHT_BITS - 1)
    digits = []
    for _ in range(_NUM_DIGITS):
        digit = (weights + _DIGIT_BASE // 2) % _DIGIT_BASE - _DIGIT_BASE // 2
        digits.insert(0, digit)
        weights = (weights - digit) // _DIGIT_BASE
    matrices = np.concatenate(digits, axis=1).astype(np.int8)
    return starts, torch.from_numpy(matrices), torch.from_numpy(offsets.astype(np.int32))


def _banded_weights(size_in: int, size_out: int, block_rows: int) -> tuple[list[int], np.ndarray]:
    """Pillow's antialiased bilinear weights times 2**22, for blocks of ``block_rows`` outputs.

    Returns the first input of each block, and int64 matrices [blocks, block_rows, inputs of a block]. Source: Pillow,
    libImaging/Resample.c, ``precompute_coeffs`` and ``normalize_coeffs_8bpc``.
    """
    scale = size_in / size_out
    support = max(scale, 1.0)
    centre = (np.arange(size_out) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), size_in)
    taps = first[:, None] + np.arange((last - first).max())
    weights = np.maximum(1 - np.abs((taps - centre[:, None] + 0.5) / support), 0)
    weights[taps >= last[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    weights = np.floor(weights * 2**_WEIGHT_BITS + 0.5).astype(np.int64)
    starts = first[::block_rows]
    ends = np.maximum.reduceat(last, np.arange(0, size_out, block_rows))
    band = int((ends - starts).max())
    starts = np.minimum(starts, size_in - band)  # a band that would reach beyond the image begins earlier instead
    matrices = np.zeros((len(starts), block_rows, band), np.int64)
    block = np.arange(size_out) // block_rows
    columns = taps - starts[block][:, None]
    is_used = weights > 0
    rows = np.broadcast_to(np.arange(size_out)[:, None], taps.shape)[is_used]
    matrices[rows // block_rows, rows % block_rows, columns[is_used]] = weights[is_used]
    return starts.tolist(), matrices


def _seconds(work: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s
