import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ixc.models.xcomposer2 import XComposer2ImageProcessor
from ixc.tiling import Grid
from tests.checkpoints import REFERENCE, real_tokenizer, tiny_model


@pytest.fixture(scope="session")
def golden():
    return json.loads((REFERENCE / "golden.json").read_text())


@pytest.fixture(scope="session")
def tensors():
    return load_file(REFERENCE / "golden.safetensors")


@pytest.fixture(scope="session", params=["constructed", "reloaded"])
def model(request, tmp_path_factory):
    """The tiny model, also after a save/load round trip: buffers built on the meta device must come back right."""
    built = tiny_model()
    if request.param == "constructed":
        return built
    folder = tmp_path_factory.mktemp("tiny")
    built.save_pretrained(folder)
    return type(built).from_pretrained(folder).eval()


@pytest.fixture(scope="session")
def tokenizer():
    return real_tokenizer()


@pytest.fixture(scope="session")
def image_inputs():
    """(file name, budget) -> tiles and grid."""

    def prepare(name: str, max_patches: int):
        pixels = np.asarray(Image.open(REFERENCE / f"{name.removesuffix('.png')}.png").convert("RGB"))
        features = XComposer2ImageProcessor()(pixels, max_patches=max_patches)
        return features["tiles"], Grid(*features["image_grids"][0].tolist())

    return prepare


@pytest.fixture(scope="session")
def image_embeds(model, image_inputs):
    """(file name, budget) -> the model's visual embeddings [T, D]; computed once per model."""
    cache: dict[tuple[str, int], torch.Tensor] = {}

    def encode(name: str, max_patches: int) -> torch.Tensor:
        key = (name.removesuffix(".png"), max_patches)
        if key not in cache:
            tiles, grid = image_inputs(*key)
            with torch.no_grad():
                cache[key] = model.encode_images(tiles, [grid])[0]
        return cache[key]

    return encode
