"""What the page shows belongs together, however late an answer comes and whatever its user does meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.browser.conftest import Held, function_of


@pytest.fixture(scope="module")
def brighter_to_the_right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3840 x 1600, black on the left and white on the right."""
    path = tmp_path_factory.mktemp("ramp") / "ramp.png"
    Image.linear_gradient("L").rotate(90).resize((3840, 1600)).convert("RGB").save(path)
    return path


CALLS = "**/run/predict*"
LEFT_EDGE_IS_SHOWN = """() => {
  const shown = document.querySelector("#ixc-cmp-patches img");
  if (!shown?.complete || !shown.naturalWidth) return false;
  const canvas = Object.assign(document.createElement("canvas"), { width: shown.naturalWidth, height: shown.naturalHeight });
  const pen = canvas.getContext("2d");
  pen.drawImage(shown, 0, 0);
  return pen.getImageData(0, 0, 1, 1).data[0] < 3;
}"""


def test_a_comparison_after_a_drag_is_of_the_last_place(visit, brighter_to_the_right):
    user = visit()
    user.upload(brighter_to_the_right)
    user.page.click("#ixc-tab-compare")
    user.page.wait_for_function("() => document.querySelector('#ixc-cmp-patches img')?.naturalWidth > 0")
    assert not user.page.evaluate(LEFT_EDGE_IS_SHOWN)  # the middle is
    held = Held(user, CALLS, '"zoom"')
    frame = user.page.locator(".ixc-cmp-frame").bounding_box()
    y = frame["y"] + frame["height"] / 2
    user.page.mouse.move(frame["x"] + frame["width"] * 0.9, y)
    user.page.mouse.down()
    held.wait()
    user.page.mouse.move(frame["x"], y, steps=20)
    user.page.mouse.up()
    held.let_go()
    user.page.wait_for_function(LEFT_EDGE_IS_SHOWN)


def test_keys_pressed_faster_than_the_server_answers_end_at_the_last_place_too(visit, brighter_to_the_right):
    user = visit()
    user.upload(brighter_to_the_right)
    user.page.click("#ixc-tab-compare")
    user.page.wait_for_selector(".ixc-cmp-patches figure")
    user.page.focus("#ixc-cmp-box")
    held = Held(user, CALLS, '"zoom"')
    user.page.keyboard.press("ArrowRight")
    held.wait()
    for _ in range(40):
        user.page.keyboard.press("ArrowLeft")
    held.let_go()
    user.page.wait_for_function(LEFT_EDGE_IS_SHOWN)


def test_the_pressed_budget_is_the_one_that_is_compared(visit, small_image, wide_image):
    user = visit()
    user.upload(small_image)
    user.page.click("#ixc-tab-compare")
    user.page.click("#ixc-compare .ixc-pill:text-is('55')")
    user.page.wait_for_selector(".ixc-cmp-patches figure")
    user.page.set_input_files("#ixc-file", wide_image)
    tokens = "t => document.querySelector('#ixc-compare tbody')?.innerText.includes(t)"
    user.page.wait_for_function(tokens, arg="8,137")  # the paper's 3840 x 1600 at HD-55
    pressed = user.page.locator("#ixc-compare .ixc-pill[aria-pressed=true]")
    assert pressed.inner_text() == "55"
    user.set_budget(9)  # the conversation's own budget is a new start
    user.page.wait_for_function("() => document.querySelector('#ixc-compare .ixc-pill[aria-pressed=true]').innerText === '9'")
    user.page.wait_for_function(tokens, arg="4 × 2")


def test_the_plan_is_of_the_budget_that_the_slider_has_by_now(visit, wide_image):
    user = visit()
    held = Held(user, CALLS, '"orig_name"')
    user.page.set_input_files("#ixc-file", wide_image)
    user.page.wait_for_selector("body[data-opening=true]")
    user.page.click('[data-budget="55"]')
    user.page.wait_for_function("() => document.querySelector('.ixc-budget-value').innerText === '55'")
    held.let_go()
    user.page.wait_for_function("() => ixc.last('plan')?.plan.budget === 55")
    assert user.fact("grid") == "11 × 5"
    assert user.page.locator(".ixc-hit").count() == 55


def test_of_images_chosen_while_one_opens_the_last_is_next(visit, small_image, wide_image):
    user = visit()
    held = Held(user, "**/upload*")
    user.page.set_input_files("#ixc-file", small_image)
    user.page.locator(".ixc-example").nth(0).click()
    user.page.set_input_files("#ixc-file", wide_image)
    held.let_go()
    user.page.wait_for_function("() => document.querySelector('[data-fact=size] dd')?.innerText === '3840 × 1600'")
    user.page.wait_for_function("() => document.body.dataset.opening === 'false'")
    assert user.page.input_value("#ixc-question textarea") == ""  # the example between them was not opened


def test_of_examples_clicked_in_a_hurry_the_last_is_shown(visit):
    user = visit()
    user.page.evaluate("() => { for (const place of [3, 1, 0]) document.querySelectorAll('.ixc-example')[place].click(); }")
    user.page.wait_for_function("() => document.querySelector('#ixc-question textarea').value === 'What does the sign say?'")
    user.page.wait_for_function(
        "() => ixc.last('plan')?.plan.budget === 3 && ixc.last('plan').imageId === ixc.last('image').id"
    )
    assert user.page.locator("#ixc-budget-slider").input_value() == "3"


def test_an_old_conversation_that_comes_late_is_not_drawn_again(visit, app):
    user = visit()
    user.limit_answer(3)
    for number, question in enumerate(("one", "two"), start=1):
        user.ask(question)
        user.wait_for_answer(number)
    part = f'"fn_index":{function_of("undo", app.url)},'
    held = Held(user, CALLS, part, answers=True)
    user.page.click('[data-action="undo"]')
    held.wait()
    user.page.click("#ixc-new")
    user.page.wait_for_function("() => document.querySelectorAll('.ixc-exchange').length === 0")
    user.page.evaluate(
        """() => new MutationObserver(() => {
            window.isBack ||= document.querySelector(".ixc-question")?.innerText.includes("one");
        }).observe(document.body, { subtree: true, childList: true })"""
    )
    with user.page.expect_response(lambda response: part in (response.request.post_data or "")) as late:
        held.let_go()
    late.value.finished()
    user.ask("three")
    user.wait_for_answer(1)
    assert not user.page.evaluate("Boolean(window.isBack)")


def test_of_languages_clicked_in_a_hurry_the_last_labels_gradios_controls(visit):
    user = visit()
    user.page.wait_for_selector('#ixc-model-chip[data-phase="ready"]')
    user.page.evaluate(
        """() => {
            const send = document.querySelector("#ixc-send");
            window.labels = [];
            const changes = { subtree: true, characterData: true, childList: true };
            new MutationObserver(() => labels.push(send.innerText)).observe(send, changes);
        }"""
    )
    held = Held(user, CALLS, '"language":"zh"')
    user.page.click('[data-language="zh"]')
    held.wait()
    user.page.click('[data-language="en"]')
    held.let_go()
    user.page.wait_for_function("() => labels.includes('发送') && labels.at(-1) === 'Send'")


def test_an_image_that_never_reached_the_server_bars_the_way_to_none(visit, small_image):
    user = visit()
    user.page.wait_for_selector('#ixc-model-chip[data-phase="ready"]')
    user.page.route(CALLS, lambda route: route.fulfill(status=503, json={"detail": "No."}), times=1)
    user.page.locator(".ixc-example").nth(0).click()
    user.page.wait_for_function("() => document.body.dataset.opening === 'false'")
    user.upload(small_image)
    assert user.fact("size") == "300 × 200"
    user.errors.clear()  # the browser's own line about the failure


def test_cells_of_a_spreadsheet_are_pasted_as_text_where_one_writes(visit):
    user = visit()
    paste = """(selector) => {
        const transfer = new DataTransfer();
        transfer.setData("text/plain", "12\\t13");
        transfer.items.add(new File([new Uint8Array([1, 2, 3])], "cells.png", { type: "image/png" }));
        const event = new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
        document.querySelector(selector).dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    assert user.page.evaluate(paste, "#ixc-question textarea") is False  # left to the field
    assert user.page.get_attribute("body", "data-opening") != "true"
    assert user.page.evaluate(paste, "#ixc-image-pane") is True
    user.page.locator("#ixc-image-notice").wait_for(state="visible")  # three bytes are no picture
