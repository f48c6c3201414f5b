"""What the images of one request, and of all requests together, may take."""

import asyncio
import base64
import io
import threading
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ixc.chat.events import FinishReason
from ixc.chat.request import StopFlag
from ixc.errors import EngineBusy, ImageTooLarge, ImageUnreadable, SettingsError
from ixc.imaging.decode import DecodedImage
from ixc.imaging.large_work import turn_for
from ixc.serving.answers import Answering, PixelRoom
from ixc.serving.image_urls import ImageSource
from ixc.serving.openai_request import ChatCompletion, RequestParser
from ixc.settings import ImageLimits, Settings
from ixc.tiling import SizePx
from tests.event_loops import run_apart
from tests.two_models import two_models


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


def test_the_files_of_one_request_have_a_limit_together():
    """Each is within the limit, few pixels, and fetched by an address of a few letters."""
    png = base64.b64decode(image_part(1)["image_url"]["url"].partition(",")[2])
    read = []
    files = SimpleNamespace(deadline_s=lambda: 5, read=lambda url, _: read.append(url) or png + bytes([len(read)]) * 1000)
    parser = RequestParser(ImageLimits(max_bytes=len(png) + 1000), files, 64)

    def parse(*numbers):
        parts = [{"type": "image_url", "image_url": f"http://a/{number}"} for number in numbers]
        content = [*parts, {"type": "text", "text": "What?"}]
        return parser.parse({"model": "m", "messages": [{"role": "user", "content": content}]}, 9)

    assert len(parse(1, 2, 1)[1]) == 2
    read.clear()
    with pytest.raises(ImageTooLarge, match="MB together"):
        parse(1, 2, 3, 4, 5)
    assert len(read) == 3, "no more is fetched"


def read_by(*urls: str) -> list[tuple[str, float]]:
    """What one request that names these addresses has read, each with its deadline."""
    png, read = base64.b64decode(image_part(1)["image_url"]["url"].partition(",")[2]), []
    source = SimpleNamespace(deadline_s=count(5).__next__, read=lambda *asked: read.append(asked) or png)
    parts = [{"type": "image_url", "image_url": url} for url in urls]
    body = {"model": "m", "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": "What?"}]}]}
    try:
        asked, images = RequestParser(ImageLimits(), source, 64).parse(body, 9)
    except SettingsError:
        assert not read, "refused too late"
        raise
    assert len(asked.views) == len(urls)
    assert len(images) == 1
    return read


def test_an_address_is_read_once_and_all_addresses_within_one_deadline():
    assert read_by("http://a/1", "http://a/2", *["http://a/1"] * 254) == [("http://a/1", 5), ("http://a/2", 5)]


@pytest.mark.parametrize(
    ("urls", "says"),
    [
        (["http://a/1"] * 257, "at most 256 images, repeated ones included"),
        ([f"http://a/{number}" for number in range(9)], "at most 8 images"),
    ],
)
def test_a_request_that_names_too_many_images_is_refused_before_any_is_read(urls, says):
    with pytest.raises(SettingsError, match=says):
        read_by(*urls)
    assert len(read_by(*urls[:-1])) == len(set(urls[:-1]))


SERVICES = SimpleNamespace(settings=Settings(), default_max_patches=25)
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
        assert answered.wait(60)
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


@pytest.mark.parametrize("is_stopping", [False, True])
def test_an_answer_that_a_stop_string_ends_is_whole(is_stopping):
    """Also for those who count answers, and in the time an app leaves its answers to end."""
    services, ends = two_models(), []
    services.traffic.listen(ends.append)
    stop = (services.provider.status.name[1:3],)
    asked = ChatCompletion("m", None, (), "What?", (), {}, {}, stop, streams=True, includes_usage=False)
    events = Answering(services)._events(asked, "a", None, StopFlag(), None)
    begun = [next(events)]
    if is_stopping:
        services.traffic.refuse_new()
    *texts, end = [*begun, *events]
    assert "".join(text.text for text in texts) == services.provider.status.name[:1]
    assert end.reason is FinishReason.END_OF_TURN
    assert [end.outcome for end in ends] == ["end_of_turn"]


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
