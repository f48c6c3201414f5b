"""The left half: an image comes in, and the plan on the screen is the reference's."""

from __future__ import annotations

import re
import time

import httpx
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from tests.browser.conftest import TIMEOUT_MS

# Grid (columns x rows) and visual tokens of 3840x1600, from the paper's formula and the reference's layout table.
REFERENCE_3840X1600 = {25: ("7 × 3", "3,217"), 55: ("11 × 5", "8,137")}


def test_upload_shows_the_picture_under_its_plan(visit, wide_image):
    user = visit()
    user.screenshot("desktop-empty")
    user.upload(wide_image)
    picture = user.page.locator("#ixc-picture")
    user.page.wait_for_function("() => document.querySelector('#ixc-picture').naturalWidth > 0")
    assert "3840 by 1600 pixels" in picture.get_attribute("alt")
    assert user.page.locator("#ixc-overlay svg").get_attribute("viewBox") == "0 0 2352 1008"
    assert user.page.locator(".ixc-hit").count() == 21
    assert user.fact("size") == "3840 × 1600"
    assert "resized 2352 × 980, padded 2352 × 1008" in user.page.locator('[data-fact="size"]').inner_text()
    assert user.fact("grid") == "7 × 3"
    assert user.page.locator('[data-fact="grid"] dt').inner_text() == "tiles, 21 of 25"
    assert user.fact("padding") == "2.8 %"  # 28 of 1008 rows
    assert user.fact("scale") == "0.61×"
    assert "shrunk 1.63×" in user.page.locator("#ixc-budget-advice").inner_text()  # 3840 / 2352
    assert user.page.locator("#ixc-visual-tokens").inner_text() == "3,217 visual tokens"
    user.screenshot("desktop-image")


def test_the_picture_lies_exactly_between_the_padding(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    canvas = user.page.locator(".ixc-canvas").bounding_box()
    picture = user.page.locator("#ixc-picture").bounding_box()
    # 14 of 1008 rows of padding above and below, none at the sides.
    assert picture["y"] - canvas["y"] == pytest.approx(canvas["height"] * 14 / 1008, abs=1)
    assert picture["height"] == pytest.approx(canvas["height"] * 980 / 1008, abs=1)
    assert picture["width"] == pytest.approx(canvas["width"], abs=1)


def test_slider_and_buttons_redraw_the_plan_and_never_fetch_the_picture_again(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    pictures_before = sum("/pictures/" in url for url in user.requests)
    for budget, (grid, tokens) in REFERENCE_3840X1600.items():
        user.set_budget(budget)
        assert user.fact("grid") == grid
        assert user.page.locator("#ixc-visual-tokens").inner_text() == f"{tokens} visual tokens"
    user.page.click('[data-budget="1"]')
    user.page.wait_for_function("() => document.querySelectorAll('.ixc-hit').length === 1")
    assert user.fact("grid") == "1 × 1"
    assert sum("/pictures/" in url for url in user.requests) == pictures_before


def test_slider_works_with_the_keyboard(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    user.page.focus("#ixc-budget-slider")
    user.page.keyboard.press("End")
    user.page.wait_for_function("() => ixc.last('plan').plan.budget === 64")
    assert user.page.locator(".ixc-budget-value").inner_text() == "64"
    user.page.keyboard.press("ArrowLeft")
    user.page.wait_for_function("() => ixc.last('plan').plan.budget === 63")


def test_suggested_is_the_smallest_budget_that_does_not_shrink(visit, tmp_path):
    # 1000x600: three tiles across are 1008 px wide; rows = ceil(1008 * 0.6 / 336) = 2, so 6 tiles; with 5, two across: 672 px.
    path = tmp_path / "photo.png"
    Image.new("RGB", (1000, 600), "white").save(path)
    user = visit()
    assert user.page.locator("#ixc-suggested").is_disabled()
    user.upload(path)
    user.page.click("#ixc-suggested")
    user.page.wait_for_function("() => ixc.last('plan').plan.budget === 6")
    assert user.page.locator("#ixc-suggested").inner_text() == "Suggested: 6\n1,045 tokens"  # 144 * (6 + 1) + 12 * (2 + 1) + 1
    why = "The smallest budget at which the image is not shrunk"
    assert user.page.get_attribute("#ixc-suggested", "title") == f"{why}: 1,045 visual tokens"
    assert user.fact("grid") == "3 × 2"
    assert "enlarged 1.01×: no detail is gained" in user.page.locator("#ixc-budget-advice").inner_text()


def test_where_every_budget_shrinks_the_image_the_suggestion_says_so(visit, tmp_path):
    path = tmp_path / "square.png"
    Image.new("RGB", (3000, 3000), "white").save(path)  # 64 tiles of 336 pixels have 2688 a side
    user = visit()
    assert user.page.get_attribute("#ixc-suggested", "title") == "The smallest budget at which the image is not shrunk"
    user.upload(path)
    assert user.page.locator("#ixc-suggested").inner_text() == "Suggested: 64\n9,469 tokens"
    title = user.page.get_attribute("#ixc-suggested", "title")
    assert title == "Every budget shrinks this image; none shrinks it less: 9,469 visual tokens"


def test_the_help_on_the_budget_stays_in_reach(visit, small_image):
    user = visit()
    rule, helper = "More tiles help dense text", user.page.locator("#ixc-budget-helper")
    assert rule in user.page.locator("#ixc-budget-advice").inner_text()
    assert not helper.is_visible()
    user.upload(small_image)
    assert rule not in user.page.locator("#ixc-budget").inner_text()
    helper.focus()
    user.page.keyboard.press("Enter")
    assert helper.get_attribute("aria-expanded") == "true"
    assert rule in user.page.locator("#ixc-budget").inner_text()
    user.page.keyboard.press("Enter")
    assert rule not in user.page.locator("#ixc-budget").inner_text()


def test_an_example_is_announced_by_what_it_shows(visit):
    user = visit()
    seen = "A blue enamel sign with white letters: PLATFORM 7."
    example, picture = user.page.locator(".ixc-example").first, user.page.locator("#ixc-picture")
    assert example.get_attribute("aria-label") == f"Example: Platform sign. {seen}"
    example.click()
    user.page.wait_for_selector("#ixc-overlay svg")
    assert picture.get_attribute("alt").startswith(f"{seen} The uploaded image, ")
    user.page.click('[data-language="zh"]')
    assert picture.get_attribute("alt").startswith("蓝底白字的搪瓷牌：PLATFORM 7。")


def test_layers_can_be_switched_off(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    assert user.page.locator("#ixc-overlay .ixc-padding").is_visible()
    user.page.uncheck("#ixc-layer-padding")
    assert not user.page.locator("#ixc-overlay .ixc-padding").is_visible()
    shown = "() => getComputedStyle(document.querySelector('.ixc-hit'), '::before').display"
    assert user.page.evaluate(shown) != "none"
    user.page.uncheck("#ixc-layer-numbers")
    assert user.page.evaluate(shown) == "none"
    assert not user.page.locator(".ixc-token-grid").is_visible()  # of tiles there would be too many


def test_the_picture_holds_its_place_while_the_slider_moves(visit, wide_image):
    user = visit()
    user.upload(wide_image)

    def tops() -> list[float]:
        return [user.page.locator(selector).bounding_box()["y"] for selector in (".ixc-view", "#ixc-budget", "#ixc-ribbon")]

    before = tops()
    for budget in (1, 9, 25, 55, 64):
        user.set_budget(budget)
        assert tops() == before


def test_an_example_fills_image_budget_and_question(visit):
    user = visit()
    assert user.page.locator(".ixc-example").count() >= 6
    assert user.page.locator('.ixc-example[data-beyond="true"]').count() == 0  # those are marked for small models only
    user.page.locator(".ixc-example").nth(0).click()
    user.page.wait_for_selector("#ixc-overlay svg")
    assert user.page.locator("#ixc-question textarea").input_value() == "What does the sign say?"
    assert user.page.evaluate("ixc.last('plan').plan.budget") == 3
    assert user.page.locator("#ixc-budget-slider").input_value() == "3"


def test_pasting_and_dropping_open_an_image(visit, small_image):
    user = visit()
    transfer = user.page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], 'p.png', { type: 'image/png' }));
            return transfer;
        }""",
        list(small_image.read_bytes()),
    )
    paste = "t => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: t, bubbles: true, cancelable: true }))"
    user.page.evaluate(paste, transfer)
    user.page.wait_for_selector("#ixc-overlay svg")
    assert user.fact("size") == "300 × 200"
    user.page.click("#ixc-remove")
    user.page.wait_for_selector(".ixc-drop")
    user.page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    user.page.wait_for_selector("#ixc-overlay svg")
    assert user.fact("size") == "300 × 200"


def test_the_camera_takes_a_picture(visit):
    user = visit()
    user.page.click("#ixc-camera")  # Chromium's own test camera
    user.page.wait_for_function("() => document.querySelector('.ixc-dialog video')?.videoWidth > 0")
    width = user.page.evaluate("document.querySelector('.ixc-dialog video').videoWidth")
    user.page.get_by_text("Take the picture").click()
    user.page.wait_for_selector("#ixc-overlay svg")
    assert user.fact("size").startswith(f"{width} × ")
    assert user.page.locator(".ixc-dialog").count() == 0


def test_a_camera_that_shows_nothing_yet_is_opened_once_and_takes_nothing(visit):
    user = visit(
        init_script="""navigator.mediaDevices.getUserMedia = () => new Promise((done) => {
            window.numAsked = (window.numAsked ?? 0) + 1;
            window.allow = () => done(new MediaStream());
        })"""
    )
    user.page.dblclick("#ixc-camera")
    user.page.evaluate("window.allow()")
    take = user.page.get_by_role("button", name="Take the picture")
    expect(take).to_be_disabled()
    assert user.page.evaluate("window.numAsked") == 1
    user.page.evaluate("document.querySelector('.ixc-dialog video').dispatchEvent(new Event('loadeddata'))")
    expect(take).to_be_focused()
    user.page.keyboard.press("Escape")
    expect(user.page.locator(".ixc-dialog")).to_have_count(0)


def test_a_very_tall_image_can_be_seen_and_zoomed(visit, tmp_path):
    path = tmp_path / "tall.png"
    Image.new("RGB", (816, 5133), "#dde7f2").save(path)
    user = visit()
    user.upload(path)
    assert user.fact("grid") == "2 × 12"  # the reference's table, HD-25
    narrow = user.page.locator(".ixc-canvas").bounding_box()["width"]
    user.page.click("#ixc-zoom")
    assert user.page.locator(".ixc-canvas").bounding_box()["width"] > 2 * narrow
    user.page.click("#ixc-zoom")
    assert user.page.locator(".ixc-canvas").bounding_box()["width"] == narrow


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("notes.png", b"These are only words, whatever the name says.", "not an image"),
        ("empty.png", b"", "not an image"),
        ("cut.png", b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR\x00\x00\x01\x00", "damaged"),
        ('<img src=x onerror="window.hacked=1">.png', b"GIF89a", "damaged"),
    ],
)
def test_a_bad_file_gets_one_sentence_and_the_image_stays(visit, tmp_path, small_image, name, content, says):
    user = visit()
    user.upload(small_image)
    user.page.set_input_files("#ixc-file", {"name": name, "mimeType": "image/png", "buffer": content})
    notice = user.page.locator("#ixc-image-notice")
    notice.wait_for(state="visible")
    text = notice.inner_text().strip()
    assert says in text
    assert text.endswith(".")
    assert len(re.findall(r"[.!?](\s|$)", text)) == 1
    assert "Traceback" not in user.page.content()
    assert user.fact("size") == "300 × 200"
    assert user.page.evaluate("window.hacked") is None
    user.page.locator("#ixc-image-notice button").click()
    assert not notice.is_visible()
    user.upload(small_image)
    assert not notice.is_visible()


def test_a_file_above_the_limit_is_refused_before_it_is_sent(visit):
    user = visit()
    user.page.evaluate("ixc.addFile(new File([new Uint8Array(51 * 1024 * 1024)], 'big.png', { type: 'image/png' }))")
    user.page.locator("#ixc-image-notice").wait_for(state="visible")
    assert "larger than 50 MB" in user.page.locator("#ixc-image-notice").inner_text()
    assert not any("/upload" in url for url in user.requests)


def test_an_upload_that_fails_says_why_and_the_image_stays(visit, small_image):
    user = visit()
    user.upload(small_image)
    notice = user.page.locator("#ixc-image-notice p")

    def sentence(**answer) -> str:
        """What the page says once the upload met ``answer``, or nobody."""
        meet = (lambda route: route.fulfill(**answer)) if answer else (lambda route: route.abort("connectionrefused"))
        user.page.route("**/upload*", meet, times=1)
        user.page.set_input_files("#ixc-file", small_image)
        notice.wait_for()
        said = notice.inner_text()
        user.page.locator("#ixc-image-notice button").click()
        return said

    offline = "The app cannot be reached. Check that it still runs, then try again."
    assert sentence() == offline
    assert sentence(status=502, body="Bad Gateway") == offline
    assert "no more uploads at the moment. Try again in a minute" in sentence(status=503, body="Too many uploads wait.")
    assert "took too long" in sentence(status=408, json={"detail": "The request came too slowly."})
    assert "larger than the server takes" in sentence(status=413, json={"detail": "Too large."})
    assert "log in again" in sentence(status=401, json={"detail": "Not authenticated"})
    assert "disk may be full" in sentence(status=507)
    assert "disk" not in sentence(status=404)
    assert user.fact("size") == "300 × 200"
    user.errors.clear()  # the browser's own lines about the failures


def lose_session(user) -> None:
    """End the page's session as a broken connection does, while the page stays."""
    picture = user.page.evaluate("document.querySelector('#ixc-picture').src")
    assert httpx.get(picture).status_code == 200
    heartbeat = next(url for url in user.requests if "/heartbeat/" in url)
    with httpx.stream("GET", heartbeat):
        pass  # the server frees a session when any of its heartbeats ends
    deadline_s = time.monotonic() + TIMEOUT_MS / 1000
    while httpx.get(picture).status_code == 200:
        assert time.monotonic() < deadline_s, "the session is still held"
        time.sleep(0.1)


GONE = "The image is no longer held by the server; upload it again."


def test_the_slider_says_that_the_image_is_gone_and_takes_it_away(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    lose_session(user)
    user.page.focus("#ixc-budget-slider")
    user.page.keyboard.press("End")
    user.page.wait_for_selector(".ixc-drop")
    assert user.page.locator("#ixc-image-notice p").inner_text() == GONE
    assert not user.page.locator("#ixc-picture").is_visible()
    assert not user.page.locator("#ixc-facts").is_visible()


def test_the_comparison_opens_where_the_image_has_detail(visit, tmp_path):
    picture = Image.new("RGB", (2000, 1000), "white")
    ImageDraw.Draw(picture).text((1700, 880), "Gate 14", fill="black", font_size=30)
    picture.save(tmp_path / "corner.png")
    user = visit()
    user.upload(tmp_path / "corner.png")
    user.page.click("#ixc-tab-compare")
    user.page.wait_for_selector(".ixc-cmp-patches figure")
    box, frame = (user.page.locator(each).bounding_box() for each in ("#ixc-cmp-box", ".ixc-cmp-frame"))
    left, right = ((box["x"] + wide - frame["x"]) / frame["width"] for wide in (0, box["width"]))
    top, bottom = ((box["y"] + high - frame["y"]) / frame["height"] for high in (0, box["height"]))
    assert left < 1750 / 2000 < right
    assert top < 900 / 1000 < bottom
    before = user.page.locator("#ixc-cmp-patches img").first.get_attribute("src")
    user.page.focus("#ixc-cmp-box")
    user.page.keyboard.press("ArrowLeft")  # from there
    user.page.wait_for_function("b => document.querySelector('#ixc-cmp-patches img').getAttribute('src') !== b", arg=before)
    moved = user.page.locator("#ixc-cmp-box").bounding_box()
    assert (moved["x"] - box["x"]) / frame["width"] == pytest.approx(-0.02, abs=0.002)
    assert moved["y"] == pytest.approx(box["y"], abs=0.5)


def test_the_comparison_says_that_the_image_is_gone_and_takes_it_away(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    user.page.click("#ixc-tab-compare")
    user.page.wait_for_selector(".ixc-cmp-patches figure")
    lose_session(user)
    user.page.focus("#ixc-cmp-box")
    user.page.keyboard.press("ArrowLeft")
    user.page.wait_for_selector(".ixc-cmp-empty")
    assert user.page.locator("#ixc-compare .ixc-notice p").inner_text() == GONE
    assert not user.page.locator(".ixc-cmp-patches").is_visible()
    user.page.click("#ixc-tab-image")
    assert user.page.locator("#ixc-image-notice p").inner_text() == GONE
