"""Calls of ``/plan`` take turns by caller, and what waits of them keeps nobody's questions out."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
from PIL import Image

from ixc.application.services import Services
from ixc.settings import Settings
from ixc.ui.api import _PLANNERS, ApiHandlers
from ixc.ui.app import build_app
from tests.event_loops import run_apart
from tests.ui.test_default_budget import services

NUM_CALLS = 40


class SlowImages(ApiHandlers):
    """An image named "slow" is read once ``go`` is set."""

    def __init__(self, shared: Services) -> None:
        super().__init__(shared)
        self.go = threading.Event()

    def _decode(self, image: Path | None):
        if image.name.startswith("slow"):
            assert self.go.wait(30)
        return super()._decode(image)


def asked_from(address: str) -> SimpleNamespace:
    return SimpleNamespace(username=None, client=SimpleNamespace(host=address))


def write_image(path: Path) -> Path:
    Image.new("RGB", (40, 30)).save(path)
    return path


def test_one_caller_s_slow_images_keep_no_other_from_a_plan(tmp_path):
    calls = SlowImages(services())

    async def scene():
        images = [write_image(tmp_path / f"slow{number}.png") for number in range(NUM_CALLS)]
        flood = [asyncio.create_task(calls.plan(asked_from("198.51.100.1"), image)) for image in images]
        async with asyncio.timeout(20):
            facts = await calls.plan(asked_from("198.51.100.2"), write_image(tmp_path / "quick.png"))
            assert facts["original_px"] == {"height": 30, "width": 40}
            calls.go.set()
            results = await asyncio.gather(*flood, return_exceptions=True)
        refused = [result for result in results if isinstance(result, gr.Error)]
        assert len(refused) == NUM_CALLS - _PLANNERS.threads_each - _PLANNERS.waiting_each
        assert {error.message for error in refused} == {"Too many images are being opened; try again in a minute."}
        assert not list(tmp_path.iterdir()), "no image stays"

    run_apart(scene())


def test_no_endpoint_waits_in_gradio_s_queue_behind_a_bound_of_its_own():
    """There they would wait in the order in which they came, all of one caller before the first of another."""
    demo = build_app(Settings(), services())
    limits = {fn.api_name: fn.concurrency_limit for fn in demo.fns.values() if fn.api_name in ("plan", "chat")}
    assert limits == {"plan": None, "chat": None}
