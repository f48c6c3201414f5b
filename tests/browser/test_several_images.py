"""A conversation about several images: what the model is told of, what the page says of it, and what helps against too much."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from ixc.benchmarks.app_process import AppProcess
from tests.browser.conftest import PHONE
from tests.browser.test_models import choose_model
from tests.checkpoints import write_chat_checkpoint

VISUAL_TOKENS = 757
"""Of the 300 x 200 image and of the 200 x 300 one at HD-4: 2 x 2 tiles."""
CONTEXT = 1500
"""Holds one of them with its questions, and not two."""
THUMBNAIL = "() => ixc.keptThumbnails([ixc.last('image').id]).length"
"""The page has made it."""
LEFT_OUT = "looks at one image at a time: earlier questions about something else stay here, but it is not told of them"


@pytest.fixture(scope="module")
def tall_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "tall.png"
    Image.linear_gradient("L").resize((200, 300)).convert("RGB").save(path)
    return path


@pytest.fixture(scope="module")
def small_app(tmp_path_factory: pytest.TempPathFactory, browser_type_launch_args: dict) -> Iterator[AppProcess]:
    """Its model "one" looks at one image at a time; "all" is told of all images, as far as its context goes."""
    folder = tmp_path_factory.mktemp("models")
    one = write_chat_checkpoint(folder / "one", sees_one_image=True, max_context_tokens=CONTEXT)
    told_of_all = write_chat_checkpoint(folder / "all", max_context_tokens=CONTEXT)
    with AppProcess({"IXC_MODEL": str(one), "IXC_MODELS": str(told_of_all), "IXC_MAX_WAITING": "20"}) as running:
        assert running.wait_for_model() == "ready", running.log()
        yield running


def show(user, path: Path) -> None:
    """Open an image, and wait for its plan and its picture."""
    before = user.page.evaluate("ixc.last('plan')?.imageId ?? ''")
    user.page.set_input_files("#ixc-file", path)
    user.page.wait_for_function("before => (ixc.last('plan')?.imageId ?? before) !== before", arg=before)
    user.page.wait_for_function("() => ixc.last('image').id === ixc.last('plan').imageId")
    user.page.wait_for_function(THUMBNAIL)


def begin(visit, app: AppProcess, model: str, image: Path):
    user = visit(app.url)
    user.page.wait_for_selector('#ixc-model-chip[data-phase="ready"]')
    if user.page.evaluate("ixc.last('model').name") != model:
        choose_model(user, model)
        user = visit(app.url)  # to a page that is opened later the change is no news
        user.page.wait_for_selector('#ixc-model-chip[data-phase="ready"]')
    user.limit_answer(4)
    show(user, image)
    user.set_budget(4)
    return user


def prompt_tokens(user) -> list[int]:
    found = (re.search(r"([\d,]+) prompt tokens", line) for line in user.stats())
    return [int(match[1].replace(",", "")) for match in found if match]


def pending(user, text: str) -> None:
    user.page.locator("#ixc-pending-note", has_text=text).wait_for()


def wait_for_numbers(user, num_turns: int) -> dict:
    """Of the next question, once they count ``num_turns`` earlier ones."""
    user.page.wait_for_function("turns => ixc.last('plan').text.turns === turns", arg=num_turns)
    return user.page.evaluate("() => ({ ...ixc.last('plan').room, text: ixc.last('plan').text })")


def test_a_model_that_looks_at_one_image_at_a_time_is_asked_about_that_one(visit, small_app, small_image, tall_image):
    user = begin(visit, small_app, "one", small_image)
    user.ask("What is this?")
    user.wait_for_answer(1)
    show(user, tall_image)
    pending(user, "Image changed: the next question uses the new one, 2 × 2 tiles. ")
    pending(user, LEFT_OUT)
    user.ask("What is that?")
    user.wait_for_answer(2)  # which two images in one prompt would not: the context is too small
    user.ask("And this one?")
    user.wait_for_answer(3)
    user.page.click("#ixc-remove")
    pending(user, "Image removed: the next question is text only")
    assert LEFT_OUT not in user.page.locator("#ixc-pending-note").inner_text(), "it is said once"
    user.ask("Hello?")
    user.wait_for_answer(4)
    first, other, following, text_only = prompt_tokens(user)
    assert abs(first - other) < 5
    assert VISUAL_TOKENS < other < following < CONTEXT
    assert text_only < first - VISUAL_TOKENS + 20
    notes = user.page.locator(".ixc-exchange .ixc-note").all_inner_texts()
    assert [LEFT_OUT in note for note in notes] == [True, False]
    assert notes[1] == "Image removed: the next question is text only"
    assert len(user.answers()) == 4  # what the model was not told of stays
    captions = [each.locator(".ixc-asked-image").all_inner_texts() for each in user.page.locator(".ixc-exchange").all()]
    shown = [[text.split("\n")[-1] for text in texts] for texts in captions]
    assert shown == [["300 × 200 · HD-4"], ["200 × 300 · HD-4"], [], []]
    user.screenshot("several-images")


def test_a_model_that_is_told_of_all_images_says_that_questions_keep_theirs(visit, small_image):
    user = visit()
    user.upload(small_image)
    user.set_budget(1)
    user.limit_answer(3)
    user.ask("What is this?")
    user.wait_for_answer(1)
    user.page.click("#ixc-remove")
    kept = "Image removed: the next question has none, the earlier ones keep theirs"
    pending(user, kept)
    user.ask("Hello?")
    user.wait_for_answer(2)
    assert user.page.locator(".ixc-exchange .ixc-note").inner_text() == kept
    with_image, without = prompt_tokens(user)
    assert without > with_image


def test_what_would_be_too_long_is_said_before_it_is_asked_and_a_new_chat_helps(visit, small_app, small_image, tall_image):
    user = begin(visit, small_app, "all", small_image)
    user.ask("What is this?")
    user.wait_for_answer(1)
    assert wait_for_numbers(user, 1)["tokens"] < CONTEXT
    assert "lower the max patches" not in user.page.locator("#ixc-pending-note").inner_text()
    show(user, tall_image)
    room = wait_for_numbers(user, 1)
    assert room["max"] == CONTEXT < room["tokens"]
    pending(user, f"The next question would have {room['tokens']:,} tokens and more")
    pending(user, f"takes {CONTEXT:,}: lower the max patches or press New chat")
    user.page.fill("#ixc-question textarea", "And that?")
    user.page.keyboard.press("Enter")
    refused = user.page.locator(".ixc-failed")
    refused.wait_for()
    assert re.search(
        rf"has [\d,]+ tokens and the model takes {CONTEXT:,}; lower the max patches or begin a new chat", refused.inner_text()
    )
    assert refused.locator("button").all_inner_texts() == ["New chat"]
    refused.locator("button").click()
    user.page.wait_for_function("() => document.querySelectorAll('.ixc-exchange').length === 0")
    assert user.page.input_value("#ixc-question textarea") == "And that?"
    assert wait_for_numbers(user, 0)["tokens"] < CONTEXT
    assert not user.page.locator("#ixc-pending-note").is_visible()
    user.page.click("#ixc-send")
    user.page.wait_for_function("() => document.querySelectorAll('.ixc-answered .ixc-actions').length === 1")
    assert user.page.locator(".ixc-failed").count() == 0


def test_the_numbers_follow_the_conversation(visit, small_app, small_image):
    user = begin(visit, small_app, "one", small_image)
    first = wait_for_numbers(user, 0)
    assert user.page.locator("#ixc-visual-tokens").inner_text() == f"{VISUAL_TOKENS} visual tokens"
    user.ask("What is this?")
    user.wait_for_answer(1)
    on = wait_for_numbers(user, 1)
    (asked,) = prompt_tokens(user)
    assert first["tokens"] < asked < on["tokens"]
    assert on["tokens"] == on["text"]["before"] + VISUAL_TOKENS + on["text"]["after"]
    assert f"of {on['tokens']:,}" in user.page.locator("#ixc-visual-tokens").inner_text()
    assert user.page.locator(".ixc-legend").inner_text().endswith("conversation so far and question")
    ribbon = user.page.locator("#ixc-ribbon svg")
    assert ribbon.get_attribute("data-total") == str(on["tokens"])
    user.page.click('.ixc-exchange [data-action="undo"]')
    assert wait_for_numbers(user, 0)["tokens"] == first["tokens"]


def test_reloads_lose_neither_what_a_question_was_about_nor_that_it_is_gone(visit, small_image):
    user = visit()
    user.upload(small_image)
    user.set_budget(4)
    user.page.wait_for_function(THUMBNAIL)
    user.limit_answer(3)
    user.ask("What is this?")
    user.wait_for_answer(1)
    for _ in range(2):
        user.page.reload()
        user.page.locator("#ixc-chat-notice", has_text="the image is no longer there").wait_for()
        assert user.page.locator(".ixc-exchange .ixc-asked-image img").count() == 1
    user.limit_answer(3)
    user.ask("And now?")
    user.wait_for_answer(2)
    lacks = user.page.locator(".ixc-exchange .ixc-lacks").all_inner_texts()
    assert lacks == ["An earlier image was no longer held; the model answered without it."]
    user.page.click("#ixc-export")
    with user.page.expect_download() as download:
        user.page.click('[data-format="json"]')
    exchanges = json.loads(download.value.path().read_text(encoding="utf-8"))["exchanges"]
    assert [(each["had_image"], each["lacks_earlier_image"]) for each in exchanges] == [(True, False), (False, True)]
    user.forget_what_broke_off()


def test_a_wrong_seed_does_not_hold_an_export_up(visit):
    user = visit()
    user.limit_answer(3)
    user.ask("Hello?")
    user.wait_for_answer(1)
    user.page.click("#ixc-settings-button")
    user.page.fill("#ixc-seed :is(input, textarea)", "lucky")
    user.page.click("#ixc-export")
    with user.page.expect_download() as download:
        user.page.click('[data-format="markdown"]')
    assert "> Hello?" in download.value.path().read_text(encoding="utf-8")


def test_time_in_the_line_is_shown_under_the_answer(visit, wide_image):
    first, second = visit(), visit()
    first.upload(wide_image)
    first.limit_answer(4096)
    second.limit_answer(3)
    first.ask("A long one")
    first.page.wait_for_function("() => document.querySelector('.ixc-live')?.innerText.length > 5")
    second.ask("Hello?")
    second.page.locator("#ixc-stage-text", has_text="1 ahead of you in line").wait_for()
    second.page.wait_for_function("begun => performance.now() > begun + 1200", arg=second.page.evaluate("performance.now()"))
    first.page.keyboard.press("Escape")
    second.wait_for_answer(1)
    assert re.search(r"waited \d+\.\d s", second.stats()[0])


def test_a_picture_in_the_conversation_brings_its_image_back(visit, small_app, small_image, tall_image):
    user = begin(visit, small_app, "one", small_image)
    user.ask("What is this?")
    user.wait_for_answer(1)
    first = user.page.evaluate("ixc.last('image').id")
    show(user, tall_image)
    user.set_budget(9)
    user.ask("What is that?")
    user.wait_for_answer(2)
    again = user.page.get_by_role("button", name="Show this image again: 300 × 200 · HD-4")
    again.focus()
    user.page.keyboard.press("Enter")
    is_back = "id => ixc.last('image').id === id && ixc.last('plan').imageId === id && ixc.last('plan').plan.budget === {}"
    user.page.wait_for_function(is_back.format(4), arg=first)
    assert user.page.locator("#ixc-budget-slider").input_value() == "4"
    assert again.evaluate("node => node === document.activeElement")
    pending(user, "Image changed: the next question uses the new one, 2 × 2 tiles")
    user.ask("And what was that?")
    user.wait_for_answer(3)
    captions = user.page.locator(".ixc-asked-image figcaption").all_text_contents()
    assert [text.removeprefix("About the image: ") for text in captions] == [
        "300 × 200 · HD-4",
        "200 × 300 · HD-9",
        "300 × 200 · HD-4",
    ]
    user.page.click("#ixc-remove")
    user.page.locator("#ixc-choose").wait_for()
    user.page.get_by_role("button", name="Show this image again: 200 × 300 · HD-9").press("Space")
    user.page.wait_for_function("() => ixc.last('plan')?.plan.budget === 9 && ixc.last('image')?.height === 300")
    user.page.click("#ixc-header button:text-is('中文')")
    assert user.page.get_by_role("button", name="重新显示这张图像：200 × 300 · HD-9").is_visible()


def test_a_picture_whose_image_is_gone_says_what_to_do(visit, small_image):
    user = visit(viewport=PHONE)
    user.upload(small_image)
    user.set_budget(4)
    user.page.wait_for_function(THUMBNAIL)
    user.page.click("#ixc-tab-chat")
    user.limit_answer(3)
    user.ask("What is this?")
    user.wait_for_answer(1)
    user.page.reload()
    user.page.click("#ixc-tab-chat")
    user.page.locator("#ixc-chat-notice", has_text="the image is no longer there").wait_for()
    user.page.click(".ixc-asked-picture")
    user.page.locator("#ixc-image-notice", has_text="The image is no longer held by the server; upload it again.").wait_for()
    assert user.page.locator("#ixc-tab-image").get_attribute("aria-selected") == "true"
    user.forget_what_broke_off()


def test_the_pictures_fit_a_phone_and_are_named(visit, small_app, small_image):
    user = visit(small_app.url, viewport=PHONE)
    show(user, small_image)
    user.page.click("#ixc-tab-chat")
    user.limit_answer(4)
    user.ask("What is this?")
    user.page.locator(".ixc-asked-image").wait_for()
    user.wait_for_answer(1)
    assert user.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert user.page.locator(".ixc-asked-image figcaption").text_content().startswith("About the image: 300 × 200")
