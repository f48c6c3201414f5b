"""What the plug-in tells vLLM of images, and what it lets through."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ixc.imaging.decode import decode_image
from ixc.settings import ImageLimits, Settings


def photograph() -> bytes:
    """A JPEG that lies on its side, as telephones save them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((60, 40)).convert("RGB").save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def info_of(folder, max_model_len: int, configured: dict | None = None):
    from ixc.serving.vllm.processing import ImageInfo

    merged = SimpleNamespace(merge_mm_processor_kwargs=lambda kwargs: {**(configured or {}), **kwargs})
    config = SimpleNamespace(
        model=str(folder), revision=None, max_model_len=max_model_len, get_multimodal_config=lambda: merged
    )
    from vllm.multimodal.processing.context import InputProcessingContext

    return ImageInfo(InputProcessingContext(config, tokenizer=None))


@pytest.mark.parametrize("max_model_len", [400, 1040, 4096, 16384])
def test_the_largest_image_is_the_largest_that_can_come(nano, max_model_len):
    counts = [144 * (r * c + 1) + 12 * (r + 1) + 1 for r in range(1, 65) for c in range(1, 65) if r * c <= 64]
    largest = max(count for count in counts if count <= max_model_len)
    assert info_of(nano, max_model_len).get_mm_max_tokens_per_item(0, {"image": 1}) == {"image": largest}


@pytest.mark.parametrize("max_model_len", [400, 4096, 12288])
def test_memory_is_measured_with_that_image(nano, max_model_len):
    from vllm.engine.arg_utils import EngineArgs
    from vllm.multimodal import MULTIMODAL_REGISTRY

    from ixc.serving.vllm import register

    register()
    config = EngineArgs(str(nano), max_model_len=max_model_len, enforce_eager=True).create_engine_config()
    processor = MULTIMODAL_REGISTRY.create_processor(config.model_config)
    (place,) = processor.get_dummy_mm_inputs({"image": 1})["mm_placeholders"]["image"]
    assert place.length == processor.info.get_mm_max_tokens_per_item(0, {})["image"]
    assert place.length > 0.9 * min(max_model_len, 144 * 65 + 12 * 65 + 1) - 156


def test_a_model_that_looks_at_one_image_at_a_time_takes_one(nano, noise):
    assert info_of(nano, 4096).get_supported_mm_limits() == {"image": 1}
    assert info_of(noise, 4096).get_supported_mm_limits() == {"image": 8}


def test_the_server_s_budget_is_the_default_and_a_request_s_goes_before_it(nano):
    from ixc.serving.vllm.processing import BudgetRefused

    assert info_of(nano, 4096).budget({}) == info_of(nano, 4096).image_processor.max_patches > 4
    assert info_of(nano, 4096, {"max_patches": 9}).budget({}) == 9
    assert info_of(nano, 4096, {"max_patches": 9}).budget({"max_patches": 4}) == 4
    with pytest.raises(BudgetRefused, match="leave size out"):
        info_of(nano, 4096, {"size": 1}).budget({"max_patches": 4})


def test_the_server_s_limit_holds_for_the_checkpoint_s_own_budget_too(nano, monkeypatch):
    """Else a plain request takes more tokens than memory was measured for."""
    from ixc.serving.vllm import processing

    monkeypatch.setattr(processing, "server_settings", lambda: Settings(max_patches_limit=4))
    info = info_of(nano, 4096)
    assert info.image_processor.max_patches > 4
    assert info.budget({}) == 4


def test_images_are_decoded_as_the_app_decodes_them_and_within_its_limits():
    from vllm.multimodal.media.image import ImageMediaIO

    from ixc.serving.vllm.processing import ImageRefused, UploadParser, _pixels

    data = photograph()
    items = UploadParser().parse_mm_data({"image": [ImageMediaIO().load_bytes(data)]})["image"]
    pixels = _pixels(items.get(0), Settings())
    assert pixels.shape == (60, 40, 3)
    np.testing.assert_array_equal(pixels, decode_image(data, ImageLimits()).pixels_HWC)
    with pytest.raises(ImageRefused, match=r"^The image .*\.$"):
        _pixels(items.get(0), Settings(images=ImageLimits(max_megapixels=0.001)))
    with pytest.raises(ImageRefused, match="RGB"):
        _pixels(np.zeros((3, 40, 60), np.float32), Settings())
