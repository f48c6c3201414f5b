"""The real app in a process of its own, spoken to over plain HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from ixc.benchmarks.app_process import AppProcess
from ixc.imaging.decode import DecodedImage
from tests.checkpoints import write_chat_checkpoint


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    checkpoint = write_chat_checkpoint(tmp_path_factory.mktemp("model"))
    with AppProcess({"IXC_MODEL": str(checkpoint), "IXC_MAX_UPLOAD_MB": "5"}) as running:
        assert running.wait_for_model() == "ready", running.log()
        yield running


@pytest.fixture
def http(app: AppProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def wide_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3840x1600, the paper's example size."""
    path = tmp_path_factory.mktemp("images") / "wide.png"
    Image.new("RGB", (3840, 1600), "#fbf3e4").save(path)
    return path


@pytest.fixture(scope="session")
def small_png() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def image() -> DecodedImage:
    rows, cols = np.mgrid[0:200, 0:300]
    return DecodedImage.from_pixels(np.stack([rows, cols % 256, rows], axis=-1).astype(np.uint8))
