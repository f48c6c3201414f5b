"""While an image is being opened, and when it cannot be: what is asked waits for it, and why it is not there is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, Held


@pytest.fixture
def damaged(tmp_path) -> Path:
    path = tmp_path / "cut.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR\x00\x00\x01\x00")
    return path


@pytest.mark.parametrize("address", ["**/gradio_api/upload*", "**/run/predict*"])
def test_a_question_is_sent_when_its_image_is_there(visit, small_image, address):
    user = visit()
    user.limit_answer(3)
    held = Held(user, address)
    user.page.set_input_files("#ixc-file", small_image)
    held.wait()
    user.ask("What is written here?")
    note = user.page.locator("#ixc-pending-note")
    expect(note).to_have_text("The image is still being opened: send your question once it is there")
    expect(user.page.locator(".ixc-exchange")).to_have_count(0)
    assert user.page.input_value("#ixc-question textarea") == "What is written here?"
    held.let_go()
    user.page.wait_for_selector("#ixc-overlay svg")
    expect(note).to_be_hidden()
    user.page.press("#ixc-question textarea", "Enter")
    user.wait_for_answer(1)
    assert " · HD-" in user.stats()[0]


@pytest.mark.parametrize("way", ["too large", "damaged"])
def test_why_a_file_is_refused_is_seen_on_every_tab(visit, small_image, damaged, tmp_path, way):
    path = damaged
    if way == "too large":
        path = tmp_path / "large.png"
        with path.open("wb") as file:
            file.truncate(200 * 1024 * 1024)
    user = visit()
    user.upload(small_image)
    user.page.click("#ixc-tab-compare")
    user.page.wait_for_selector(".ixc-cmp-patches figure")
    user.page.set_input_files("#ixc-file", path)
    expect(user.page.locator("#ixc-compare .ixc-notice")).to_be_visible()
    assert user.page.locator(".ixc-cmp-patches figure").first.is_visible()
    user.screenshot(f"compare-refused-{way.replace(' ', '-')}")
    user.page.click("#ixc-tab-evidence")
    user.page.set_input_files("#ixc-file", path)
    expect(user.page.locator("#ixc-image-notice")).to_be_visible()
    expect(user.page.locator("#ixc-tab-image")).to_have_attribute("aria-selected", "true")
    user.page.set_viewport_size(PHONE)
    user.page.click("#ixc-tab-chat")
    user.page.fill("#ixc-question textarea", "a draft")
    user.page.set_input_files("#ixc-file", path)
    expect(user.page.locator("#ixc-image-notice")).to_be_visible()
    expect(user.page.locator("#ixc-tab-image")).to_be_focused()
    assert user.page.input_value("#ixc-question textarea") == "a draft"


def test_a_budget_of_before_is_at_most_what_is_allowed_now(visit, small_image):
    user = visit()
    user.page.evaluate("ixc.chooseBudget(1000)")
    most = user.page.locator("#ixc-budget-slider").get_attribute("max")
    assert user.page.locator(".ixc-budget-value").inner_text() == most
    user.upload(small_image)
    assert user.page.evaluate("ixc.last('plan').plan.budget") == int(most)
