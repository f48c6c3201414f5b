"""What the server holds for a page: bounded, secret, and gone with the tab."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ixc.application.engine_provider import EngineProvider
from ixc.application.preview import encode_preview, encode_thumbnail
from ixc.application.services import Services
from ixc.application.session import SessionStore, StoreLimits
from ixc.errors import CheckpointError, EngineBusy, IxcError
from ixc.imaging.decode import DecodedImage
from ixc.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def image(value: int, height: int = 20, width: int = 30) -> DecodedImage:
    return DecodedImage.from_pixels(np.full((height, width, 3), value, np.uint8))


def test_a_session_holds_its_own_images_only():
    store = SessionStore()
    held = store.put_image("anna", image(1))
    store.put_image("ben", image(2))
    assert store.current("anna").image.image_id == image(1).image_id
    assert set(store.images("ben")) == {image(2).image_id}
    assert store.current("carl") is None
    assert store.preview(held.token) == held.preview
    assert store.preview("guess") is None


def test_the_same_image_in_two_sessions_has_two_secret_names():
    store = SessionStore()
    one, two = store.put_image("anna", image(1)), store.put_image("ben", image(1))
    assert one.token != two.token
    store.close("anna")
    assert store.preview(one.token) is None
    assert store.preview(two.token) is not None


def test_the_same_image_again_is_held_once():
    store = SessionStore()
    one = store.put_image("anna", image(1))
    store.put_image("anna", image(2))
    assert store.put_image("anna", image(1)).token == one.token
    assert store.current("anna").token == one.token
    assert store.report()["images"] == 2


def test_closing_frees_everything_and_stops_the_answer():
    store = SessionStore()
    held = store.put_image("anna", image(1))
    stop = store.begin_answer("anna")
    store.close("anna")
    assert stop.is_set
    assert store.preview(held.token) is None
    assert store.report() == {"sessions": 0, "images": 0, "bytes": 0, "tokens": 0}
    assert store.end_answer("anna", stop) is False


def test_a_late_request_does_not_bring_a_closed_session_back():
    clock = Clock()
    store = SessionStore(clock=clock)
    store.put_image("anna", image(1))
    store.close("anna")
    with pytest.raises(IxcError, match="reload"):
        store.begin_answer("anna")
    with pytest.raises(IxcError, match="reload"):
        store.put_image("anna", image(1))
    assert store.report()["sessions"] == 0
    clock.now_s += 11  # a browser that woke up goes on with the same page
    store.put_image("anna", image(1))


def test_what_is_known_of_closed_pages_is_dropped_in_time_also_after_one_that_closes_again():
    clock = Clock()
    store = SessionStore(clock=clock)
    store.close("again")
    store.close("once")
    clock.now_s += 9
    store.close("again")
    clock.now_s += 2
    store.close("last")
    assert list(store._closed) == ["again", "last"]


def test_one_answer_at_a_time():
    store = SessionStore()
    stop = store.begin_answer("anna")
    assert store.is_answering("anna")
    with pytest.raises(EngineBusy):
        store.begin_answer("anna")
    store.begin_answer("ben")
    store.stop("anna")
    assert stop.is_set
    assert store.end_answer("anna", stop)
    assert not store.is_answering("anna")
    assert store.report()["sessions"] == 1  # anna held nothing else; ben is still answering


def test_old_images_go_first_but_never_the_current_one():
    store = SessionStore(StoreLimits(max_images_per_session=2))
    tokens = [store.put_image("anna", image(value)).token for value in range(4)]
    assert [store.preview(token) is not None for token in tokens] == [False, False, True, True]
    assert store.report()["tokens"] == 2


def test_bytes_are_bounded_and_a_running_answer_is_spared():
    one_mb = image(1, 500, 667)
    size = one_mb.pixels_HWC.nbytes
    store = SessionStore(StoreLimits(max_bytes=int(2.5 * size)))
    store.put_image("answering", one_mb)
    store.begin_answer("answering")
    store.put_image("idle", image(2, 500, 667))
    store.put_image("newest", image(3, 500, 667))
    assert store.current("idle") is None
    assert store.current("answering") is not None
    assert store.current("newest") is not None


def test_images_that_are_no_longer_shown_go_before_anybodys_current_one():
    one = image(1, 500, 667)
    store = SessionStore(StoreLimits(max_bytes=int(4.5 * one.pixels_HWC.nbytes)))
    tokens = {}
    for name, values in {"idlest": (1, 2), "idle": (3, 4)}.items():
        for value in values:
            tokens[value] = store.put_image(name, image(value, 500, 667)).token
    store.put_image("newest", image(5, 500, 667))
    assert [store.preview(token) is not None for token in tokens.values()] == [False, True, True, True]
    store.put_image("newest", image(6, 500, 667))
    assert [store.preview(token) is not None for token in tokens.values()] == [False, True, False, True]
    assert all(store.current(name) is not None for name in ("idlest", "idle", "newest"))
    store.put_image("newest", image(7, 500, 667))  # its own earlier ones too
    store.put_image("newest", image(8, 500, 667))
    assert all(store.current(name) is not None for name in ("idlest", "idle", "newest"))
    for name in ("more", "most"):  # now there are only current ones, and the idlest page's goes
        store.put_image(name, image(9, 500, 667))
    assert [store.current(name) is not None for name in ("idlest", "idle", "newest", "more", "most")] == [False, *[True] * 4]


def test_the_owner_says_how_many_bytes_are_held():
    def load(*_: object) -> None:
        raise CheckpointError("There is no model here.")

    store = Services.start(Settings.from_env({"IXC_IMAGES_MB": "2"}), EngineProvider(Settings(), load)).store
    for name in ("first", "second", "third"):  # 1.0 MB each, and a preview
        store.put_image(name, image(1, 500, 667))
    assert [store.current(name) is not None for name in ("first", "second", "third")] == [False, True, True]


def test_the_image_of_a_question_that_waits_stays_while_others_are_opened():
    one = image(1, 500, 667)
    store = SessionStore(StoreLimits(max_bytes=int(1.5 * one.pixels_HWC.nbytes), max_images_per_session=1))
    asked = store.put_image("anna", one)
    stop = store.begin_answer("anna", one.image_id)
    store.put_image("anna", image(2, 500, 667))
    store.put_image("anna", image(3, 500, 667))
    assert set(store.images("anna")) == {one.image_id, image(3, 500, 667).image_id}
    store.end_answer("anna", stop)
    store.put_image("anna", image(4, 500, 667))
    assert store.preview(asked.token) is None


def test_a_question_about_an_earlier_image_keeps_that_one_till_its_end():
    """As Retry and Edit ask it."""
    one, two = image(1, 500, 667), image(2, 500, 667)
    store = SessionStore(StoreLimits(max_bytes=int(2.5 * one.pixels_HWC.nbytes)))
    store.put_image("anna", one)
    store.put_image("anna", two)
    store.begin_answer("anna", one.image_id)
    store.put_image("ben", image(3, 500, 667))
    assert set(store.images("anna")) == {one.image_id, two.image_id}  # what a page shows is kept too
    store.put_image("anna", image(4, 500, 667))
    assert set(store.images("anna")) == {one.image_id, image(4, 500, 667).image_id}


def test_age_and_number_of_sessions_are_bounded():
    clock = Clock()
    store = SessionStore(StoreLimits(max_sessions=2, max_age_s=100), clock)
    store.put_image("first", image(1))
    clock.now_s += 1
    store.put_image("second", image(1))
    store.current("first")  # used again: now the second is the oldest
    store.put_image("third", image(1))
    assert store.current("second") is None
    clock.now_s += 101
    store.put_image("fourth", image(1))
    assert store.report()["sessions"] == 1


@pytest.mark.parametrize(("height", "width"), [(2160, 3840), (5133, 816), (100, 60), (1, 9000), (9000, 1), (1, 1)])
def test_previews_are_small_pictures_of_the_same_shape(height, width):
    preview = Image.open(io.BytesIO(encode_preview(image(90, height, width))))
    assert max(preview.size) <= 4000
    assert preview.width * preview.height <= 2_600_000
    assert preview.width <= width
    if min(height, width) > 10:
        assert preview.width / preview.height == pytest.approx(width / height, rel=0.01)
    assert preview.convert("RGB").getpixel((0, 0)) == pytest.approx((90, 90, 90), abs=3)
    thumbnail = Image.open(io.BytesIO(encode_thumbnail(image(90, height, width))))
    assert max(thumbnail.size) <= 160
