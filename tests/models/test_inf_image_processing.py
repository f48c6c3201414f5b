"""INF-LLaVA's square in parts: the same pixels as padded and resized whole, without the whole square's memory."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from ixc.dual_perspective import PADDING_RGB
from ixc.models.inf_llava import InfLlavaImageProcessor, image_processing
from ixc.tiling import SizePx


def cut_whole(pixels: np.ndarray, side_px: int) -> np.ndarray:
    """The image pasted on its square, which is resized at once: the released code's way."""
    height, width, _ = pixels.shape
    side = max(height, width)
    square = Image.new("RGB", (side, side), PADDING_RGB)
    square.paste(Image.fromarray(pixels), ((side - width) // 2, (side - height) // 2))
    return np.asarray(square.resize((side_px, side_px), Image.Resampling.BICUBIC)).transpose(2, 0, 1)[None]


SHAPES = [(1, 1), (1, 700), (700, 1), (300, 41), (40, 301), (336, 336), (1008, 1008), (1008, 20), (20, 1008), (777, 776)]
SHAPES += [(3, 2500), (2500, 3), (1300, 1100)]


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("max_patches", [1, 9])
def test_parts_give_the_pixels_of_the_whole(height, width, max_patches, monkeypatch):
    # The extremes only: what is rounded between the two passes shows most.
    pixels_HWC = np.random.default_rng(height * width).integers(0, 2, (height, width, 3), dtype=np.uint8) * 255
    processor = InfLlavaImageProcessor()
    plan = processor.plan(SizePx(height, width), max_patches)
    expected = cut_whole(pixels_HWC, plan.input_px)
    for band_pixels in (4_000_000, 100_000, 1):
        if band_pixels == 1 and height > 1000:
            continue  # thousands of parts
        monkeypatch.setattr(image_processing, "_BAND_PIXELS", band_pixels, raising=False)
        tiles_NCHW = processor.cut(pixels_HWC, plan)
        assert np.array_equal(tiles_NCHW, expected)
        assert tiles_NCHW.flags.c_contiguous


@pytest.mark.parametrize(("height", "width"), [(1, 6000), (6000, 1)])
def test_a_thin_picture_takes_no_memory_for_the_square_of_its_length(height, width):
    """The square alone has 108 MB; of what is kept, 6000 rows at the model's width have 18."""
    processor = InfLlavaImageProcessor()
    plan = processor.plan(SizePx(height, width), 9)
    pixels_HWC = np.zeros((height, width, 3), np.uint8)
    tracemalloc.start()
    try:
        processor.cut(pixels_HWC, plan)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
