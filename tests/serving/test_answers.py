"""What the images of one request, and of all requests together, may take."""

import asyncio
import base64
import io
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ixc.errors import EngineBusy, ImageUnreadable, SettingsError
from ixc.imaging.decode import DecodedImage
from ixc.imaging.large_work import turn_for
from ixc.serving.answers import Answering, PixelRoom
from ixc.serving.image_urls import ImageSource
from ixc.serving.openai_request import ChatCompletion, RequestParser
from ixc.settings import ImageLimits, Settings
from ixc.tiling import SizePx
from tests.serving.loops import run_apart


def image_part(shade: int, side_px: int = 100) -> dict:
    buffer = io.BytesIO()
    Image.new("RGB", (side_px, side_px), (shade, 0, 0)).save(buffer, "PNG", compress_level=1)
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def test_the_images_of_one_request_have_a_limit_together():
    parser = RequestParser(ImageLimits(max_megapixels=0.015), ImageSource(10_000), 64)

    def parse(*shades):
        content = [*(image_part(shade) for shade in shades), {"type": "text", "text": "What?"}]
        return parser.parse({"model": "m", "messages": [{"role": "user", "content": content}]}, 9)

    assert len(parse(1, 2, 3)[1]) == 3  # 0.03 megapixels: twice the largest
    assert len(parse(1, 1, 1, 1)[1]) == 1  # the same picture again takes nothing
    with pytest.raises(SettingsError, match=r"0\.03 megapixels together"):
        parse(1, 2, 3, 4)


SERVICES = SimpleNamespace(settings=Settings(), provider=SimpleNamespace(engine=None))
"""As far as images are concerned."""


def question(part: dict) -> dict:
    return {"model": "m", "messages": [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]}


@pytest.mark.parametrize("caller", ["the same", "another"])
def test_small_images_do_not_wait_for_large_ones(caller):
    """Whoever sends them: behind a proxy all callers look the same."""

    async def scene():
        answering = Answering(SERVICES)
        large_question = question(image_part(1, 4100))
        with turn_for(SizePx(7000, 7000)):  # a large image that takes as long as this test wants
            large = [asyncio.create_task(answering.parse(large_question, "the same")) for _ in range(12)]
            async with asyncio.timeout(20):
                small = await answering.parse(question(image_part(1)), caller)
                first, _ = await asyncio.wait(large, return_when=asyncio.FIRST_COMPLETED)
        assert [image.size_px for image in small.images.values()] == [SizePx(100, 100)]
        answers = await asyncio.gather(*large, return_exceptions=True)
        return first, answers

    first, answers = run_apart(scene())
    refused = [answer for answer in answers if isinstance(answer, EngineBusy)]
    assert len(refused) == 2  # two begin, eight wait
    assert {task.exception() for task in first} <= set(refused)
    assert sum(isinstance(answer, ChatCompletion) and len(answer.images) == 1 for answer in answers) == 10


@pytest.mark.parametrize("caller", ["the same", "another"])
def test_images_that_were_sent_do_not_wait_for_those_to_be_fetched(caller):
    answered = threading.Event()

    def resolve(*_, **__):
        assert answered.wait(20)
        raise OSError("no such host")

    async def scene():
        answering = Answering(SERVICES, ImageSource(10_000, may_fetch=True, resolve=resolve))
        slow = {"type": "image_url", "image_url": "http://slow.example/a.png"}
        fetched = [asyncio.create_task(answering.parse(question(slow), "the same")) for _ in range(12)]
        async with asyncio.timeout(20):
            for _ in range(3):
                assert len((await answering.parse(question(image_part(1)), caller)).images) == 1
        assert not any(task.done() for task in fetched)
        answered.set()
        refused = await asyncio.gather(*fetched, return_exceptions=True)
        assert {type(error) for error in refused} == {ImageUnreadable}

    run_apart(scene())


def test_the_images_of_all_requests_have_a_limit_together():
    image = DecodedImage.from_pixels(np.zeros((10, 10, 3), np.uint8))  # 300 bytes
    room = PixelRoom(max_bytes=700)
    with room.hold([image, image, image]):  # a single request is never too large for the room
        with pytest.raises(EngineBusy, match="try again in a minute"), room.hold([image]):
            pass
        with room.hold([]):
            pass
    with room.hold([image]), room.hold([image]), pytest.raises(EngineBusy), room.hold([image]):
        pass
    with room.hold([image]):
        pass
