"""Without a mouse: the focus is never lost with what goes, and a key closes the smallest thing first."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect


@pytest.fixture
def asked(visit):
    """A page with two answers."""
    user = visit()
    user.limit_answer(3)
    for number, question in enumerate(("one", "two"), start=1):
        user.ask(question)
        user.wait_for_answer(number)
    return user


def press(user, selector: str, key: str = "Enter") -> None:
    user.page.focus(selector)
    user.page.keyboard.press(key)


def expect_question_focused(user) -> None:
    expect(user.page.locator("#ixc-question textarea")).to_be_focused()


def idle(user, num_exchanges: int) -> None:
    user.page.wait_for_function(
        "n => document.body.dataset.busy !== 'true' && document.querySelectorAll('.ixc-exchange').length === n",
        arg=num_exchanges,
    )


def test_what_takes_exchanges_away_leaves_the_focus_in_the_question(asked):
    asked.page.evaluate("window.kept = document.querySelectorAll('.ixc-exchange')[1]")
    press(asked, '[data-action="retry"]')
    asked.page.wait_for_function("() => !window.kept.isConnected")
    idle(asked, 2)
    expect_question_focused(asked)
    press(asked, '[data-action="undo"]')
    idle(asked, 1)
    expect_question_focused(asked)
    press(asked, '[data-action="edit"]')
    asked.page.keyboard.type(", changed")
    asked.page.keyboard.press("Tab")
    asked.page.keyboard.press("Tab")
    asked.page.keyboard.press("Enter")  # "Ask again"
    asked.page.wait_for_function("() => document.querySelector('.ixc-question')?.innerText.includes('one, changed')")
    idle(asked, 1)
    expect_question_focused(asked)
    press(asked, "#ixc-new")
    idle(asked, 0)
    expect_question_focused(asked)


def test_an_edit_that_is_given_up_leaves_the_focus_where_it_began(asked):
    for leave in ("Escape", "Tab+Enter"):
        asked.page.locator('[data-action="edit"]').nth(0).focus()
        asked.page.keyboard.press("Enter")
        for key in leave.split("+"):
            asked.page.keyboard.press(key)
        expect(asked.page.locator('[data-action="edit"]').nth(0)).to_be_focused()


def test_sending_and_stopping_leave_the_focus_in_the_question(visit):
    user = visit()
    user.limit_answer(4096)
    user.page.fill("#ixc-question textarea", "one")
    press(user, "#ixc-send")
    user.page.wait_for_selector("#ixc-live")
    expect_question_focused(user)
    press(user, "#ixc-stop")
    user.wait_for_answer(1)
    expect_question_focused(user)


def test_whoever_is_elsewhere_stays_there(asked):
    asked.page.evaluate("window.kept = document.querySelectorAll('.ixc-exchange')[1]")
    asked.page.evaluate(  # at once, or a fast retry would be over before
        "document.querySelector('[data-action=\"retry\"]').click(); document.querySelector('#ixc-budget-slider').focus()"
    )
    asked.page.wait_for_function("() => !window.kept.isConnected")
    idle(asked, 2)
    expect(asked.page.locator("#ixc-budget-slider")).to_be_focused()


def test_a_notice_that_goes_and_an_image_that_goes_pass_the_focus_on(visit, small_image):
    user = visit()
    user.page.click("#ixc-send")  # nothing to ask
    press(user, "#ixc-chat-notice button")
    expect_question_focused(user)
    user.upload(small_image)
    user.page.set_input_files("#ixc-file", {"name": "a.png", "mimeType": "image/png", "buffer": b"words"})
    user.page.locator("#ixc-image-notice").wait_for(state="visible")
    press(user, "#ixc-image-notice button")
    expect(user.page.locator("#ixc-replace")).to_be_focused()
    press(user, "#ixc-remove")
    expect(user.page.locator("#ixc-choose")).to_be_focused()


def test_the_menu_is_walked_with_the_arrow_keys(asked):
    press(asked, "#ixc-export")
    first, second = (asked.page.locator(f'[data-format="{name}"]') for name in ("markdown", "json"))
    expect(first).to_be_focused()
    for key, entry in (("ArrowDown", second), ("ArrowDown", first), ("ArrowUp", second), ("Home", first), ("End", second)):
        asked.page.keyboard.press(key)
        expect(entry).to_be_focused()
    with asked.page.expect_download() as download:
        asked.page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".json")
    expect(asked.page.locator("#ixc-export")).to_be_focused()


def test_every_tab_has_its_panel(visit):
    user = visit()
    user.page.click("#ixc-tab-compare")
    for pane in ("image", "chat", "compare", "evidence"):
        controlled = user.page.get_attribute(f"#ixc-tab-{pane}", "aria-controls").split()
        assert f"ixc-{pane}-pane" in controlled
        panel = user.page.locator(f"#ixc-{pane}-pane")
        assert (panel.get_attribute("role"), panel.get_attribute("aria-labelledby")) == ("tabpanel", f"ixc-tab-{pane}")
    assert user.page.get_attribute("#ixc-tab-image", "aria-controls") == "ixc-image-pane ixc-chat-pane"


def test_escape_closes_what_is_small_before_it_stops_the_answer(asked):
    asked.limit_answer(4096)
    asked.page.locator('[data-action="edit"]').nth(0).click()
    asked.ask("three")
    asked.page.wait_for_selector("#ixc-live")
    still_writes = "document.body.dataset.busy === 'true' && document.body.dataset.stopping !== 'true'"
    press(asked, ".ixc-edit", "Escape")
    assert asked.page.locator(".ixc-edit").count() == 0
    press(asked, "#ixc-export")
    asked.page.keyboard.press("Escape")
    assert not asked.page.locator('[data-format="json"]').is_visible()
    press(asked, "#ixc-model-chip")
    asked.page.keyboard.press("Escape")
    assert not asked.page.locator("#ixc-model-note").is_visible()
    asked.page.click("#ixc-settings-button")
    press(asked, "#ixc-seed :is(input, textarea)", "Escape")
    asked.page.evaluate(
        """() => document.querySelector("#ixc-question textarea").dispatchEvent(
            new KeyboardEvent("keydown", { key: "Escape", keyCode: 229, bubbles: true, cancelable: true }))"""
    )
    assert asked.page.evaluate(still_writes)
    press(asked, "#ixc-question textarea", "Escape")
    idle(asked, 3)


def test_what_is_drawn_anew_or_switched_off_passes_the_focus_on(visit, wide_image):
    user = visit()
    with user.page.expect_file_chooser() as chooser:
        press(user, "#ixc-choose")
    chooser.value.set_files(wide_image)
    user.page.wait_for_selector("#ixc-overlay svg")
    expect(user.page.locator("#ixc-replace")).to_be_focused()
    user.page.click("#ixc-tab-compare")
    user.page.wait_for_selector(".ixc-cmp-patches figure")
    press(user, "#ixc-compare .ixc-pill:text-is('55')")
    expect(user.page.locator("#ixc-compare .ixc-pill:text-is('55')")).to_be_focused()
    wider, closer = (
        user.page.locator(f"#ixc-compare .ixc-cmp-zoom [data-t-label='compare.{way}']") for way in ("wider", "closer")
    )
    closer.focus()
    while closer.is_enabled():
        size = user.page.locator(".ixc-cmp-zoom .ixc-small").inner_text()
        user.page.keyboard.press("Enter")
        expect(user.page.locator(".ixc-cmp-zoom .ixc-small")).not_to_have_text(size)
    expect(wider).to_be_focused()


def test_a_copy_on_a_page_without_a_clipboard_keeps_the_focus(asked):
    asked.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    asked.page.evaluate("document.execCommand = () => false")
    press(asked, '.ixc-answered [data-action="copy"]')
    copy = asked.page.locator('.ixc-answered [data-action="copy"]').first
    expect(copy).to_be_focused()
    expect(copy).to_have_attribute("aria-label", "Copy")  # nothing was
