"""What the images of one request, and of all requests together, may take."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ixc.errors import EngineBusy, SettingsError
from ixc.imaging.decode import DecodedImage
from ixc.serving.answers import PixelRoom
from ixc.serving.image_urls import ImageSource
from ixc.serving.openai_request import RequestParser
from ixc.settings import ImageLimits


def image_part(shade: int) -> dict:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 100), (shade, 0, 0)).save(buffer, "PNG")
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def test_the_images_of_one_request_have_a_limit_together():
    parser = RequestParser(ImageLimits(max_megapixels=0.015), ImageSource(10_000), 64)

    def parse(*shades):
        content = [*(image_part(shade) for shade in shades), {"type": "text", "text": "What?"}]
        return parser.parse({"model": "m", "messages": [{"role": "user", "content": content}]}, 9)

    assert len(parse(1, 2, 3).images) == 3  # 0.03 megapixels: twice the largest
    assert len(parse(1, 1, 1, 1).images) == 1  # the same picture again takes nothing
    with pytest.raises(SettingsError, match=r"0\.03 megapixels together"):
        parse(1, 2, 3, 4)


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
