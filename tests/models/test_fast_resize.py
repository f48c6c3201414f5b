"""The fast resizing against Pillow itself, and who uses which."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ixc.chat.loading import load_engine
from ixc.models.xcomposer2 import XComposer2ImageProcessor
from ixc.models.xcomposer2.fast_resize import resize_and_pad_fast
from ixc.settings import Settings
from ixc.shipped import ASSETS
from ixc.tiling import SizePx, plan_tiles


def pillow(pixels: np.ndarray, plan) -> np.ndarray:
    """The picture as the reference resizes it, without padding: portrait images lie on their side meanwhile."""
    size = (plan.resized_px.width, plan.resized_px.height)
    image = Image.fromarray(pixels)
    if image.width >= image.height:
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    turned = image.transpose(Image.Transpose.TRANSPOSE).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(turned.transpose(Image.Transpose.TRANSPOSE))


def difference(pixels: np.ndarray, max_patches: int) -> int:
    """The largest inside the picture; what lies around it must be white."""
    plan = plan_tiles(SizePx(*pixels.shape[:2]), max_patches)
    padded = resize_and_pad_fast(pixels, plan)
    assert padded.shape == (plan.padded_px.height, plan.padded_px.width, 3)
    rows, cols = (
        slice(plan.padding_px.top, plan.padding_px.top + plan.resized_px.height),
        slice(plan.padding_px.left, plan.padding_px.left + plan.resized_px.width),
    )
    found = np.abs(padded[rows, cols].astype(int) - pillow(pixels, plan)).max()
    padded[rows, cols] = 255
    assert (padded == 255).all()
    return int(found)


def picture(height: int, width: int, kind: str) -> np.ndarray:
    """Kinds on which two roundings would err most: noise, black and white, lines along one axis, a ramp of ties."""
    random = np.random.default_rng(height * 9973 + width)
    if kind == "noise":
        return random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "black and white":
        return random.integers(0, 2, (height, width, 3), dtype=np.uint8) * 255
    if kind == "columns":
        return np.repeat(random.integers(0, 256, (1, width, 3), dtype=np.uint8), height, axis=0)
    if kind == "rows":
        return np.repeat(random.integers(0, 256, (height, 1, 3), dtype=np.uint8), width, axis=1)
    ramp = (np.arange(height)[:, None] + np.arange(width)) % 256
    return np.repeat(ramp[:, :, None], 3, axis=2).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 1200),
    width=st.integers(1, 1200),
    max_patches=st.integers(1, 9),
    kind=st.sampled_from(["noise", "black and white", "columns", "rows", "ramp"]),
)
@example(1, 1200, 9, "noise")
@example(1200, 1, 9, "noise")
@example(336, 336, 1, "noise")
@example(672, 672, 1, "ramp")
@example(1, 1, 1, "noise")
@example(258, 686, 4, "noise")  # where float32 sums would be 2 away
def test_no_value_is_more_than_one_away_from_pillow(height, width, max_patches, kind):
    assert difference(picture(height, width, kind), max_patches) <= 1


def test_a_4k_photograph_at_the_largest_budget():
    """Fifteen million values; PyTorch's own two-axis kernel is 2 away here."""
    assert difference(np.asarray(Image.open(ASSETS / "examples" / "poster.webp").convert("RGB")), 55) <= 1


def test_read_only_pixels_of_a_decoded_upload_are_taken_without_a_warning(recwarn):
    pixels = picture(50, 40, "noise")
    pixels.flags.writeable = False
    plan = plan_tiles(SizePx(50, 40), 4)
    resize_and_pad_fast(pixels, plan)[0, 0] = 1
    assert np.array_equal(pixels, picture(50, 40, "noise"))
    assert not recwarn.list
    with pytest.raises(ValueError, match="expected uint8 pixels of shape"):
        resize_and_pad_fast(pixels[:, :30], plan)


def test_the_processor_is_exact_and_the_engine_fast_unless_told_otherwise(tmp_path):
    assert XComposer2ImageProcessor().is_exact
    for resize, is_exact in (("fast", False), ("exact", True)):
        engine = load_engine(Settings(model="ixc-nano", resize=resize))
        engine.close()
        assert engine.processor.image_processor.is_exact is is_exact
    assert Settings().resize == "fast"
    engine.processor.image_processor.is_exact = False
    engine.processor.save_pretrained(tmp_path)
    assert "is_exact" not in (tmp_path / "processor_config.json").read_text()
