"""A model that has to be downloaded is chosen: the one before answers meanwhile, and the choice can be taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ixc.benchmarks.app_process import AppProcess
from tests.browser.conftest import PHONE
from tests.browser.test_models import choose_model, offered_as
from tests.checkpoints import VL_REFERENCE, write_chat_checkpoint
from tests.models.hub import REPOSITORY, DownloadHub

NOWHERE = "someone/nothing"
READY = "n => ixc.last('model').phase === 'ready' && ixc.last('model').name === n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[DownloadHub]:
    folder = write_chat_checkpoint(tmp_path_factory.mktemp("on-the-hub") / "model", reference=VL_REFERENCE)
    hub = DownloadHub({path.name: path.read_bytes() for path in folder.iterdir()})
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def downloading(tmp_path_factory, chat_checkpoint, hub, browser_type_launch_args) -> Iterator[AppProcess]:
    here = tmp_path_factory.mktemp("models") / "here"
    here.symlink_to(chat_checkpoint)
    env = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path_factory.mktemp("hf")), "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HUB_OFFLINE": "0", "IXC_MODEL": str(here), "IXC_MODELS": f"{REPOSITORY},{NOWHERE}"}
    with AppProcess(env) as running:
        assert running.wait_for_model() == "ready", running.log()
        yield running


def start_choosing(user, name: str) -> None:
    if user.page.evaluate("document.body.dataset.settings") != "open":
        user.page.click("#ixc-settings-button")
    user.page.click("#ixc-model input")
    user.page.get_by_role("option", name=offered_as(name)).click()


def look_how_far_it_is(user) -> None:
    """As the page does by itself every two seconds, and at once when one comes back to it; and let it show what it is told."""
    with user.page.expect_response("**/run/predict*") as look:
        user.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    look.value.finished()
    user.page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done)))")


def note(user) -> str:
    pending = user.page.locator("#ixc-pending-note")
    return pending.inner_text() if pending.is_visible() else ""


def test_what_is_to_be_downloaded_is_said_in_the_pages_language(visit, downloading):
    def offers(title: str) -> None:
        """Waits until the choice has it."""
        user.page.click("#ixc-model input")
        user.page.get_by_role("option", name=title, exact=True).wait_for()
        user.page.locator("#ixc-model input").blur()

    user = visit(downloading.url, locale="zh-CN")
    user.page.click("#ixc-settings-button")
    offers(f"{NOWHERE}（需下载）")
    look_how_far_it_is(user)
    offers(f"{NOWHERE}（需下载）")
    user.page.click('[data-language="en"]')
    offers(f"{NOWHERE} (to download)")
    look_how_far_it_is(user)
    offers(f"{NOWHERE} (to download)")
    assert user.page.input_value("#ixc-model input") == "here"
    about = user.page.locator("#ixc-model-note")
    user.page.click("#ixc-model-chip")
    assert about.inner_text().startswith("A model of your own; this program does not know what it can do.")
    user.page.click('[data-language="zh"]')
    user.page.click("#ixc-model-chip")
    assert about.inner_text().startswith("你自己的模型；本程序不知道它能做什么。")


def test_the_old_model_answers_while_the_new_one_is_downloaded(visit, downloading, hub, small_image):
    hub.stall_on = "model.safetensors"
    user = visit(downloading.url)
    user.upload(small_image)
    user.limit_answer(3)
    start_choosing(user, REPOSITORY)
    user.page.wait_for_function("() => ixc.last('model').coming?.percent >= 10")
    assert hub.stalled.wait(30)
    assert user.page.evaluate("ixc.last('model').phase") == "ready"
    chip = user.page.locator("#ixc-model-chip").inner_text()
    assert re.fullmatch(r"here · [1-4]\d % of another model downloaded", chip)
    assert f"here still answers while {REPOSITORY} is downloaded" in note(user)
    assert user.page.input_value("#ixc-model input") == f"{REPOSITORY} (to download)"
    user.ask("What is it?")
    user.wait_for_answer(1)
    assert user.answers()[0].removeprefix("Answer:").strip()
    user.page.wait_for_function("() => ixc.last('plan').text.turns === 1")  # planned anew after the answer, which hides a tip
    user.page.locator(".ixc-hit").first.hover()
    for _ in range(2):
        look_how_far_it_is(user)
    assert user.page.locator("#ixc-tip").is_visible()  # it was not disturbed
    user.page.click("#ixc-model-chip")
    about = user.page.locator("#ixc-model-note").inner_text()
    assert f"here still answers while {REPOSITORY} is downloaded." in about
    user.screenshot("downloading")
    user.page.set_viewport_size(PHONE)
    user.screenshot("downloading-phone")
    assert user.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    user.page.set_viewport_size({"width": 1440, "height": 900})

    start_choosing(user, "here")
    user.page.wait_for_function("() => !ixc.last('model').coming")
    assert user.page.locator("#ixc-model-chip").inner_text() == "here · CPU"
    assert note(user) == ""

    hub.stall_on = None
    hub.release.set()  # the broken file goes on where it stopped
    start_choosing(user, REPOSITORY)
    user.page.wait_for_function(READY, arg=REPOSITORY)
    assert any(name == "model.safetensors" and start > 0 for name, start in hub.ranges)
    assert f"Model changed to {REPOSITORY}" in note(user)
    assert user.page.input_value("#ixc-model input") == REPOSITORY
    start_choosing(user, "here")
    user.page.wait_for_function(READY, arg="here")


def test_what_came_of_a_switch_is_told_to_those_who_were_there_until_they_have_seen_it(visit, downloading):
    user, other = visit(downloading.url), visit(downloading.url)
    user.page.click("#ixc-settings-button")
    start_choosing(user, NOWHERE)
    user.page.wait_for_function("() => document.querySelector('#ixc-pending-note').textContent.includes('still answering')")
    assert f"There is no public model {NOWHERE} on the Hub" in note(user)
    assert user.page.input_value("#ixc-model input") == "here"
    other.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when one comes back to it
    other.page.wait_for_function("() => document.querySelector('#ixc-pending-note').textContent.includes('still answering')")
    late = visit(downloading.url)
    late.page.wait_for_function(READY, arg="here")
    late.page.wait_for_timeout(500)
    assert note(late) == ""
    start_choosing(user, "here")  # seen
    user.page.wait_for_function("() => document.querySelector('#ixc-pending-note').hidden")
    other.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    other.page.wait_for_function("() => document.querySelector('#ixc-pending-note').hidden")


def test_memory_that_was_freed_is_no_news_to_who_comes_later(visit, downloading):
    user = visit(downloading.url)
    choose_model(user, REPOSITORY)
    user.page.wait_for_function("() => document.querySelector('#ixc-pending-note').textContent.startsWith('Freed ')")
    late = visit(downloading.url)
    late.page.wait_for_function(READY, arg=REPOSITORY)
    late.page.wait_for_timeout(500)
    assert note(late) == ""
    choose_model(user, "here")
