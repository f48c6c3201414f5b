"""Wide grey modes in bands of rows: the same pixels as all at once, without many copies of the picture."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from ixc.imaging import modes
from ixc.imaging.modes import to_rgb

RANDOM = np.random.default_rng(7)
SHAPES = [(1, 1), (1, 400), (400, 1), (50, 20), (37, 91)]


def stretched(grey: np.ndarray) -> np.ndarray:
    """All at once, as the definition says."""
    values_HW = grey.astype(np.float64)
    values_HW[~np.isfinite(values_HW)] = 0
    low, high = values_HW.min(), values_HW.max()
    if low == high:
        return np.rint(np.full(values_HW.shape, np.clip(low, 0, 255))).astype(np.uint8)
    return np.rint((values_HW / 2 - low / 2) / (high / 2 - low / 2) * 255).astype(np.uint8)


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(to_rgb(image))[:, :, 0]


@pytest.fixture(autouse=True)
def _narrow_bands(monkeypatch):
    monkeypatch.setattr(modes, "_BAND_PIXELS", 100, raising=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_floats(shape):
    ordinary = (RANDOM.standard_normal(shape) * 1e3).astype(np.float32)
    huge = (RANDOM.uniform(-1, 1, shape) * 3e38).astype(np.float32)
    holes = ordinary.copy()
    holes[RANDOM.random(shape) < 0.3] = np.nan
    holes[RANDOM.random(shape) < 0.1] = -np.inf
    last_is_largest = np.linspace(0, 1, ordinary.size, dtype=np.float32).reshape(shape)
    for values_HW in (ordinary, huge, holes, last_is_largest, np.full(shape, 300.7, np.float32)):
        assert np.array_equal(grey(Image.fromarray(values_HW)), stretched(values_HW))


@pytest.mark.parametrize("shape", SHAPES)
def test_wide_integers(shape):
    for limit in (2**31 - 1, 1000, 1):
        values_HW = RANDOM.integers(-limit, limit, shape, dtype=np.int32, endpoint=True)
        assert np.array_equal(grey(Image.fromarray(values_HW)), stretched(values_HW))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("mode", "order"), [("I;16", "<"), ("I;16B", ">")])
def test_sixteen_bits(shape, mode, order):
    values_HW = RANDOM.integers(0, 65536, shape)
    image = Image.frombytes(mode, shape[::-1], values_HW.astype(f"{order}u2").tobytes())
    expected = np.floor(values_HW / 257 + 0.5).astype(np.uint8)
    assert np.array_equal(grey(image), expected)
    image.info["transparency"] = int(values_HW[-1, -1])
    assert np.array_equal(grey(image), np.where(values_HW == values_HW[-1, -1], 255, expected))


@pytest.mark.parametrize(("kind", "limit"), [(np.float32, 6), (np.int32, 6), (np.uint16, 3)])
def test_memory_beside_pillows_own(monkeypatch, kind, limit):
    """In bytes for each pixel, one of which is the result; all at once it took 26, of 16 bits 12."""
    monkeypatch.undo()
    image = Image.fromarray(RANDOM.integers(0, 60_000, (2000, 2000)).astype(kind))
    tracemalloc.start()
    try:
        to_rgb(image)
        assert tracemalloc.get_traced_memory()[1] < limit * 2000 * 2000
    finally:
        tracemalloc.stop()
