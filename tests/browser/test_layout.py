"""The page in windows of every size: what it is at the first look, and nothing that is cut off or lies over another."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import PHONE

LAPTOP = {"width": 1366, "height": 768}
LAPTOP_AT_200_PERCENT = {"width": 683, "height": 384}
PHONE_ON_ITS_SIDE = {"width": 844, "height": 390}
NARROWEST = {"width": 320, "height": 640}
"""What WCAG 1.4.10 asks for: 1280 pixels at 400 %."""
TOUCH = {"is_mobile": True, "has_touch": True}
LOW_WINDOWS = [(PHONE_ON_ITS_SIDE, TOUCH), (LAPTOP_AT_200_PERCENT, {})]
WINDOWS = [(LAPTOP, {}), (PHONE, TOUCH), *LOW_WINDOWS, (NARROWEST, TOUCH)]
PHONES = [NARROWEST, {"width": 360, "height": 740}, PHONE, PHONE_ON_ITS_SIDE]

# Pairs of elements that lie over each other by more than a pixel, by the texts or ids that they bear.
OVERLAPS = """selectors => {
  const seen = selectors.flatMap((each) => [...document.querySelectorAll(each)]).filter((node) => node.checkVisibility());
  const name = (node) => node.id || node.textContent.trim() || node.className;
  const found = [];
  seen.forEach((one, at) => seen.slice(at + 1).forEach((two) => {
    const [a, b] = [one.getBoundingClientRect(), two.getBoundingClientRect()];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1 && high > 1) found.push([name(one), name(two)]);
  }));
  return found;
}"""


@pytest.mark.parametrize(("window", "options"), WINDOWS, ids=["laptop", "phone", "on its side", "zoomed", "narrowest"])
def test_the_first_screen_says_what_this_is(visit, window, options):
    user = visit(viewport=window, **options)
    idea = user.page.locator(".ixc-idea")
    assert "how yours is cut" in idea.inner_text()
    box = idea.bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= window["height"]


@pytest.mark.parametrize(
    ("locale", "title"),
    [("en-US", "4KHD: see how an image is cut, then talk about it"), ("zh-CN", "4KHD：看清图像如何切分，再与它对话")],
)
def test_the_browser_s_tab_says_what_this_is(visit, locale, title):
    user = visit(locale=locale)
    expect(user.page).to_have_title(title)


@pytest.mark.parametrize(("window", "options"), LOW_WINDOWS, ids=["on its side", "zoomed"])
def test_in_a_low_window_the_chat_can_be_used(visit, window, options):
    user = visit(viewport=window, **options)
    user.page.click("#ixc-tab-chat")
    pane = user.page.locator("#ixc-chat-pane").bounding_box()

    def is_seen(selector: str) -> bool:
        box = user.page.locator(selector).bounding_box()
        return box["y"] >= pane["y"] - 1 and box["y"] + box["height"] <= window["height"] + 1

    assert all(is_seen(each) for each in ("#ixc-new", "#ixc-question", "#ixc-send", "#ixc-settings-button"))
    user.page.fill("#ixc-question textarea", "\n".join("one more line" for _ in range(8)))
    assert is_seen("#ixc-send")
    assert is_seen("#ixc-question")
    user.page.fill("#ixc-question textarea", "")
    user.page.click("#ixc-settings-button")
    assert is_seen("#ixc-model")  # opened, they are not below what is seen
    assert is_seen("#ixc-length")
    system = user.page.locator("#ixc-system textarea")
    system.scroll_into_view_if_needed()
    assert is_seen("#ixc-system")
    user.page.click("#ixc-settings-button")
    user.limit_answer(4)
    user.ask("one")
    user.wait_for_answer(1)
    answer = user.page.locator(".ixc-exchange .ixc-answer").bounding_box()
    composer = user.page.locator("#ixc-composer").bounding_box()
    assert answer["y"] + answer["height"] <= composer["y"]
    assert user.page.evaluate("document.documentElement.scrollWidth") <= window["width"]


@pytest.mark.parametrize("window", PHONES, ids=lambda each: str(each["width"]))
def test_nothing_lies_over_another_on_a_phone(visit, wide_image, window):
    user = visit(viewport=window, **TOUCH)
    header = [".ixc-brand h1", "#ixc-model-chip", ".ixc-languages button", ".ixc-tools > button", ".ixc-tabs button"]
    assert user.page.evaluate(OVERLAPS, header) == []
    user.upload(wide_image)
    beside = [".ixc-global", ".ixc-side figcaption", ".ixc-layers label", ".ixc-stage-tools", ".ixc-example", ".ixc-pill"]
    assert user.page.evaluate(OVERLAPS, [*beside, ".ixc-advice", "#ixc-budget-helper"]) == []
    tools, frame = (user.page.locator(each).bounding_box() for each in (".ixc-stage-tools", ".ixc-frame"))
    assert frame["y"] <= tools["y"]
    assert tools["y"] + tools["height"] <= frame["y"] + frame["height"]


def test_a_question_filled_in_before_its_field_is_seen_is_seen_whole(visit):
    user = visit(viewport=PHONE, **TOUCH)
    user.page.get_by_role("button", name="4K poster").click()
    user.page.wait_for_selector("#ixc-overlay svg")
    user.page.click("#ixc-tab-chat")
    field = user.page.locator("#ixc-question textarea")
    assert "Gull Island" in field.input_value()  # two lines
    expect(field).to_be_visible()
    user.page.wait_for_function(
        "() => { const f = document.querySelector('#ixc-question textarea'); return f.scrollHeight <= f.clientHeight + 1; }"
    )


@pytest.mark.parametrize("window", [{"width": 1280, "height": 800}, {"width": 1024, "height": 768}, PHONES[1]], ids=str)
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_what_an_image_costs_stands_in_one_line(visit, wide_image, window, locale):
    user = visit(viewport=window, locale=locale)
    user.upload(wide_image)
    user.set_budget(55)
    user.page.locator('[data-fact="cost"] dd', has_text="·").wait_for()
    lines = user.page.evaluate(
        """() => [...document.querySelectorAll(".ixc-fact dd")].map((number) => {
          if (number.parentNode.dataset.fact === "cost") number.textContent = "21.6 s · 18.2 GB"; // as of the large model
          const range = document.createRange();
          range.selectNodeContents(number);
          return [range.getClientRects().length, number.scrollWidth <= number.clientWidth];
        })"""
    )
    assert lines == [[1, True]] * 5
    assert user.page.evaluate("document.documentElement.scrollWidth") <= window["width"]


def test_in_the_dark_the_empty_part_of_a_slider_is_dark(visit):
    user = visit(color_scheme="dark")
    user.page.click("#ixc-settings-button")
    user.page.fill("#ixc-temperature input[type=number]", "0")
    slider = user.page.locator("#ixc-temperature input[type=range]")
    expect(slider).to_have_value("0")
    picture = Image.open(io.BytesIO(slider.screenshot())).convert("L")
    # At 0 there is nothing but the thumb, at the left.
    assert picture.getpixel((picture.width * 4 // 5, picture.height // 2)) < 80


def test_in_chinese_the_sliders_are_named_in_chinese(visit):
    user = visit(locale="zh-CN")
    user.page.click("#ixc-settings-button")

    def names() -> list[str]:
        fields = user.page.locator("#ixc-settings input:is([type=range], [type=number])")
        return [each.get_attribute("aria-label") for each in fields.all()]

    user.page.wait_for_selector("[aria-label='温度（0 为贪心），滑块']")
    assert len(names()) == 10
    assert [name for name in names() if not name.endswith(("，数字", "，滑块"))] == []
    user.page.click('[data-language="en"]')
    user.page.wait_for_selector("[aria-label='Temperature (0: greedy), as a slider']")
    user.page.wait_for_function("() => !document.querySelector('#ixc-settings :is([aria-label$=数字], [aria-label$=滑块])')")
    assert "Top-p, as a number" in names()  # whose label is the same in both
