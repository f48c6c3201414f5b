"""The page as a whole: languages, phone, dark, keyboard, contrast, and what happens when the machine is in a bad way."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import PHONE

# WCAG contrast of every visible text against the nearest opaque background behind it.
CONTRASTS = """() => {
  const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const bad = [];
  for (const node of document.querySelectorAll('#ixc-page *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const seen = node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!own || !seen || node.closest(':disabled')) continue;
    let behind = node;
    while (behind && rgba(getComputedStyle(behind).backgroundColor)[3] < 200) behind = behind.parentElement;
    const one = luminance(rgba(getComputedStyle(node).color));
    const two = luminance(rgba(getComputedStyle(behind ?? document.body).backgroundColor));
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) bad.push([node.className || node.tagName, node.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return bad;
}"""

# Controls without a name that a screen reader could say.
NAMELESS = """() => [...document.querySelectorAll('#ixc-page :is(button, input, textarea, select, [role=tab])')]
  .filter((node) => node.checkVisibility() && node.type !== 'hidden')
  .filter((node) => !(node.getAttribute('aria-label') || node.title || node.innerText?.trim()))
  .filter((node) => !(node.labels?.length || node.closest('label')))
  .map((node) => node.outerHTML.slice(0, 120))"""


def test_chinese(visit, wide_image):
    user = visit(locale="zh-CN")
    assert user.page.locator(".ixc-brand p").inner_text() == "看清高分辨率图像如何切分，再与它对话"
    user.page.wait_for_function("() => document.querySelector('#ixc-send').innerText === '发送'")
    user.upload(wide_image)
    assert user.page.locator('[data-fact="grid"] dt').inner_text() == "图块，用 21 / 25"
    user.page.set_input_files("#ixc-file", {"name": "a.png", "mimeType": "image/png", "buffer": b"words"})
    user.page.locator("#ixc-image-notice").wait_for(state="visible")
    assert user.page.locator("#ixc-image-notice").inner_text().startswith("无法打开这个文件")
    user.screenshot("desktop-chinese")
    user.page.click("#ixc-tab-evidence")
    speeds = user.page.locator("#ixc-evidence section", has_text="实测速度").locator("tbody th").all_inner_texts()
    assert len(speeds) > 10
    assert [name for name in speeds if not re.search(r"[\u4e00-\u9fff]", name)] == []
    user.page.click("#ixc-tab-image")
    user.page.click('[data-language="en"]')
    user.page.wait_for_function("() => document.querySelector('#ixc-send').innerText === 'Send'")
    assert user.page.locator('[data-fact="grid"] dt').inner_text() == "tiles, 21 of 25"
    assert user.page.evaluate("document.documentElement.lang") == "en"


def test_phone(visit, wide_image):
    user = visit(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)

    def overflow() -> int:
        return user.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    assert user.page.locator("#ixc-tab-image").get_attribute("aria-selected") == "true"
    assert not user.page.locator("#ixc-question").is_visible()
    assert user.page.locator(".ixc-drop-title").inner_text() == "Add an image"  # a finger drops nothing
    user.upload(wide_image)
    assert overflow() <= 0
    user.screenshot("phone-image")
    user.page.tap('.ixc-hit[data-tile="3"]')
    user.page.locator("#ixc-tip").wait_for()
    assert "Tile 4 row 1, column 4" in user.page.locator("#ixc-tip").inner_text()
    box = user.page.locator("#ixc-tip").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    user.page.tap("#ixc-to-chat")
    user.page.locator("#ixc-stage").wait_for(state="hidden")
    user.set_budget(2)
    user.limit_answer(8)
    user.ask("What is this?")
    user.wait_for_answer(1)
    assert overflow() <= 0
    composer = user.page.locator("#ixc-composer").bounding_box()
    assert composer["y"] + composer["height"] <= PHONE["height"]
    user.screenshot("phone-chat")
    # Nothing on the image's tab sticks out sideways either, however far one scrolls.
    user.page.tap("#ixc-tab-image")
    user.page.locator("#ixc-stage").wait_for()
    wide = user.page.evaluate(
        """() => [...document.querySelectorAll('#ixc-image-pane *')]
            .filter((node) => node.checkVisibility() && !node.closest('.ixc-examples, .ixc-canvas, .ixc-tip, svg'))
            .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
            .map((node) => node.className)"""
    )
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_names(visit, small_image, scheme):
    user = visit(color_scheme=scheme)
    brightness = user.page.evaluate("getComputedStyle(document.querySelector('#ixc-image-pane')).backgroundColor")
    is_dark = int(brightness.split("(")[1].split(",")[0]) < 128
    assert is_dark == (scheme == "dark")
    user.upload(small_image)
    user.set_budget(4)
    user.limit_answer(5)
    user.ask("What is this?")
    user.wait_for_answer(1)
    user.set_budget(9)
    user.page.click("#ixc-model-chip")
    user.page.mouse.move(0, 0)
    assert user.page.evaluate(CONTRASTS) == []
    user.page.click("#ixc-settings-button")
    user.page.wait_for_selector("#ixc-settings .min_value")
    assert user.page.evaluate(CONTRASTS) == []
    assert user.page.evaluate(NAMELESS) == []
    user.page.click("#ixc-settings-button")
    user.page.keyboard.press("Escape")
    user.page.mouse.click(5, 200)
    user.screenshot(f"desktop-{scheme}")


def test_theme_can_be_switched(visit):
    user = visit(color_scheme="light")
    user.page.click('[data-t-label="app.theme"]')
    assert user.page.evaluate("document.body.classList.contains('dark')")
    user.page.reload()
    user.page.wait_for_selector(".ixc-example")
    assert user.page.evaluate("document.body.classList.contains('dark')")
    user.forget_what_broke_off()


def test_everything_can_be_reached_with_the_tab_key(visit, small_image):
    user = visit()
    user.upload(small_image)
    user.page.focus("#ixc-model-chip")
    reached = set()
    for _ in range(80):
        user.page.keyboard.press("Tab")
        reached.add(
            user.page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
    for wanted in (
        "ixc-zoom",
        "ixc-replace",
        "ixc-remove",
        "ixc-layer-tiles",
        "ixc-budget-slider",
        "ixc-suggested",
        "ixc-send",
    ):
        assert wanted in reached, wanted
    assert any("ixc-hit" in name for name in reached)
    assert any("ixc-example" in name for name in reached)


def test_the_model_says_what_it_is(visit):
    user = visit()
    chip = user.page.locator("#ixc-model-chip")
    assert chip.inner_text().endswith("· CPU")
    assert not user.page.locator("#ixc-model-note").is_visible()
    chip.click()
    assert "model of your own" in user.page.locator("#ixc-model-note").inner_text()
    assert "model of your own" in user.page.locator(".ixc-empty").inner_text()


def test_without_a_model_the_plan_works_and_the_question_is_kept(visit, broken_app, tmp_path):
    from PIL import Image

    path = tmp_path / "plain.png"
    Image.new("RGB", (3840, 2160), "white").save(path)
    user = visit(broken_app.url)
    user.page.wait_for_selector('#ixc-model-chip[data-phase="failed"]')
    assert "There is no model" in user.page.locator(".ixc-empty").inner_text()
    user.upload(path)
    assert user.fact("grid") == "6 × 4"  # the paper's table, HD-25
    user.ask("What is this?")
    user.page.wait_for_selector(".ixc-failed")
    assert "There is no model" in user.page.locator(".ixc-failed").inner_text()
    assert "What is this?" in user.page.locator(".ixc-question").inner_text()
    assert user.page.locator('[data-action="retry"]').count() == 1
    assert "Traceback" not in user.page.content()
    user.screenshot("desktop-no-model")


def test_a_full_disk_is_said_and_nothing_is_lost(visit, broken_app, small_image):
    user = visit(broken_app.url)
    user.upload(small_image)
    noise = "new File([crypto.getRandomValues(new Uint8Array(60000)), ...Array(20).fill(new Uint8Array(60000))], 'n.png')"
    user.page.evaluate(f"ixc.addFile({noise})")
    user.page.locator("#ixc-image-notice").wait_for(state="visible")
    assert "disk may be full" in user.page.locator("#ixc-image-notice").inner_text()
    assert user.fact("size") == "300 × 200"
    user.errors.clear()  # the browser logs the refused upload
    user.upload(small_image)
