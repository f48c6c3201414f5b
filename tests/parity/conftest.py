import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ixc.models.xcomposer2 import XComposer2ImageProcessor
from ixc.tiling import Grid
from tests.checkpoints import REFERENCE, real_tokenizer, tiny_config, tiny_model


@pytest.fixture(scope="module")
def reference(request) -> Path:
    """The folder of weights and recorded values: 4KHD's, unless a file or a test is about another."""
    return getattr(request, "param", REFERENCE)


@pytest.fixture(scope="module")
def golden(reference):
    return json.loads((reference / "golden.json").read_text())


@pytest.fixture(scope="module")
def tensors(reference):
    return load_file(reference / "golden.safetensors")


@pytest.fixture(scope="module", params=["constructed", "reloaded"])
def model(request, reference, tmp_path_factory):
    """The tiny model, also after a save/load round trip: buffers built on the meta device must come back right."""
    built = tiny_model(reference)
    if request.param == "constructed":
        return built
    folder = tmp_path_factory.mktemp("tiny")
    built.save_pretrained(folder)
    return type(built).from_pretrained(folder).eval()


@pytest.fixture(scope="session")
def tokenizer():
    return real_tokenizer()


@pytest.fixture(scope="module")
def image_inputs(reference):
    """(file name, budget) -> tiles and grid. There is no budget for a model that looks once."""
    processor = XComposer2ImageProcessor(img_size=tiny_config(reference).img_size)

    def prepare(name: str, max_patches: int | None = None):
        pixels = np.asarray(Image.open(reference / f"{name.removesuffix('.png')}.png").convert("RGB"))
        features = processor(pixels, max_patches=max_patches)
        return features["tiles"], Grid(*features["image_grids"][0].tolist())

    return prepare


@pytest.fixture(scope="module")
def image_embeds(model, image_inputs):
    """(file name, budget) -> the model's visual embeddings [T, D]; computed once per model."""
    cache: dict[tuple[str, int | None], torch.Tensor] = {}

    def encode(name: str, max_patches: int | None = None) -> torch.Tensor:
        key = (name.removesuffix(".png"), max_patches)
        if key not in cache:
            tiles, grid = image_inputs(*key)
            with torch.no_grad():
                cache[key] = model.encode_images(tiles, [grid])[0]
        return cache[key]

    return encode
