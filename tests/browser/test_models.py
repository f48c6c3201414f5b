"""Three ways of cutting on one page: models are switched in mid-conversation, compared, and seen before they are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ixc.benchmarks.app_process import AppProcess
from tests.browser.conftest import PHONE, Held
from tests.browser.test_whole_page import CONTRASTS, NAMELESS
from tests.checkpoints import VL_REFERENCE, write_chat_checkpoint
from tests.inf_checkpoints import write_inf_checkpoint

COLOURS = [
    (230, 30, 30),
    (30, 200, 30),
    (40, 40, 230),
    (230, 220, 30),
    (30, 210, 220),
    (220, 40, 220),
    (20, 20, 20),
    (240, 240, 240),
    (240, 140, 20),
]


@pytest.fixture(scope="module")
def dual(tmp_path_factory) -> Path:
    """A folder that says how it cuts but holds no weights."""
    folder = tmp_path_factory.mktemp("weightless") / "dual"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llava_llama"}')
    return folder


@pytest.fixture(scope="module")
def without_weights(dual, browser_type_launch_args) -> Iterator[AppProcess]:
    """No test of it chooses a model."""
    with AppProcess({"IXC_MODEL": str(dual)}) as running:
        assert running.wait_for_model() == "failed"
        yield running


@pytest.fixture(scope="module")
def many_models(tmp_path_factory, dual, chat_checkpoint, browser_type_launch_args) -> Iterator[AppProcess]:
    """Starts without weights; four models can be chosen."""
    folder = tmp_path_factory.mktemp("models")
    single = write_chat_checkpoint(folder / "single", reference=VL_REFERENCE)
    tiled = folder / "tiled"
    tiled.symlink_to(chat_checkpoint)
    inf = write_inf_checkpoint(folder / "inf")
    with AppProcess({"IXC_MODEL": str(dual), "IXC_MODELS": f"{tiled},{single},{inf},inf-nano"}) as running:
        assert running.wait_for_model() == "failed"
        yield running


@pytest.fixture(scope="module")
def nine_colours(tmp_path_factory) -> Path:
    """900 x 900 in nine squares of one colour each."""
    pixels = np.array(COLOURS, np.uint8).reshape(3, 3, 3).repeat(300, 0).repeat(300, 1)
    path = tmp_path_factory.mktemp("nine") / "nine.png"
    Image.fromarray(pixels).save(path)
    return path


def colour_at(user, selector: str, index: int, x: float, y: float) -> list[int]:
    """The colour of one pixel of a thumbnail, at shares of its sides."""
    return user.page.evaluate(
        """([selector, index, x, y]) => {
            const canvas = document.querySelectorAll(selector)[index];
            return [...canvas.getContext("2d").getImageData(x * canvas.width, y * canvas.height, 1, 1).data].slice(0, 3);
        }""",
        [selector, index, x, y],
    )


def offered_as(name: str) -> re.Pattern:
    """A choice says what it downloads, where it does. Playwright writes the pattern between slashes."""
    slashed = re.escape(name).replace("/", r"\/")
    return re.compile(rf"^{slashed}( \(.*to download\))?$")


def choose_model(user, name: str) -> None:
    user.page.click("#ixc-model-chip")
    user.page.click("#ixc-choose-model")
    user.page.click("#ixc-model input")
    user.page.get_by_role("option", name=offered_as(name)).click()
    user.page.wait_for_function("n => ixc.last('model').phase === 'ready' && ixc.last('model').name === n", arg=name)
    user.page.click("#ixc-settings-button")


def test_the_dual_perspective_is_seen_before_any_weights(visit, without_weights, nine_colours):
    user = visit(without_weights.url)
    user.upload(nine_colours)
    user.page.wait_for_selector(".ixc-dual:not([hidden])")
    user.page.wait_for_function(  # drawn: a moment after the picture is there
        """() => {
            const pen = document.querySelector('.ixc-dual-strided canvas').getContext('2d');
            return pen.getImageData(100, 100, 1, 1).data[3] === 255;
        }"""
    )
    assert user.page.locator("#ixc-visual-tokens").inner_text() == "576 visual tokens"
    assert user.page.locator(".ixc-hit").count() == 9
    assert not user.page.locator("#ixc-budget-slider").is_visible()
    for index, colour in enumerate(COLOURS):  # each block shows one ninth of the picture, each strided view all of it
        assert colour_at(user, ".ixc-dual-block canvas", index, 0.5, 0.5) == pytest.approx(colour, abs=12)
        assert colour_at(user, ".ixc-dual-strided canvas", 2, (index % 3 + 0.5) / 3, (index // 3 + 0.5) / 3) == pytest.approx(
            colour, abs=12
        )
    assert user.page.locator(".ixc-dual-strided[data-matters=true]").count() == 1
    user.page.locator(".ixc-dual-strided").nth(4).focus()
    user.page.keyboard.press("ArrowRight")
    assert "does not depend on it" in user.page.locator("#ixc-dual-said").inner_text()
    user.page.locator(".ixc-dual-block").nth(8).hover()
    assert "Block 9" in user.page.locator("#ixc-tip").inner_text()
    user.page.click("[data-input='336']")
    user.page.wait_for_function("() => ixc.last('plan').plan.viewPx === 336")
    assert "padded 336 × 336" in user.page.locator('[data-fact="size"]').inner_text()
    user.screenshot("dual-perspective")
    check_both_themes_and_a_phone(user)


def test_the_dual_perspective_is_that_of_the_new_picture(visit, without_weights, nine_colours, tmp_path):
    plain = tmp_path / "plain.png"
    Image.new("RGB", (900, 900), (10, 200, 90)).save(plain)
    user = visit(without_weights.url)
    user.upload(nine_colours)
    user.page.wait_for_function("() => document.querySelector('#ixc-picture').complete")
    held = Held(user, "**/pictures/*")
    before = user.page.evaluate("ixc.last('plan').imageId")
    user.page.set_input_files("#ixc-file", plain)
    user.page.wait_for_function("before => ixc.last('plan').imageId !== before", arg=before)
    user.page.wait_for_function("() => ixc.last('image').id === ixc.last('plan').imageId")
    held.let_go()
    user.page.wait_for_function(
        """() => {
            const canvas = document.querySelector(".ixc-dual-block canvas");
            const [red, green] = canvas.getContext("2d").getImageData(100, 100, 1, 1).data;
            return red < 30 && green > 180;
        }"""
    )


def test_a_tab_notices_that_another_one_switched_the_model(visit, many_models, small_image):
    first, second = visit(many_models.url), visit(many_models.url)
    choose_model(first, "tiled")
    second.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when one comes back to it
    second.page.wait_for_function("() => ixc.last('model').name === 'tiled' && ixc.last('model').phase === 'ready'")
    second.upload(small_image)
    second.set_budget(4)
    choose_model(first, "single")
    second.set_slider(9)
    second.page.wait_for_function("() => ixc.last('model').name === 'single' && ixc.last('plan').plan.kind === 'single_view'")
    assert second.page.locator("#ixc-model-chip").inner_text().startswith("single")
    assert second.page.locator("#ixc-budget-slider").is_disabled()


def check_both_themes_and_a_phone(user) -> None:
    """Contrast and names in light and dark; nothing sticks out of a phone."""
    for dark in (False, True):
        user.page.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        user.page.mouse.move(0, 0)
        user.page.wait_for_function("() => document.getAnimations().every((each) => !(each instanceof CSSTransition))")
        assert user.page.evaluate(CONTRASTS) == []
    assert user.page.evaluate(NAMELESS) == []
    user.page.set_viewport_size(PHONE)
    user.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert user.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    sticks_out = """() => [...document.querySelectorAll('#ixc-page *')].filter((node) => node.checkVisibility()
        && !node.closest('.ixc-scroll-x, .ixc-examples, .ixc-view, svg, .ixc-cmp-patch, .ixc-global, .ixc-offscreen, #ixc-file')
        && node.getBoundingClientRect().right > innerWidth + 1).map((node) => node.className || node.tagName)"""
    assert user.page.evaluate(sticks_out) == []


def test_a_model_is_switched_in_mid_conversation(visit, many_models, wide_image):
    user = visit(many_models.url)
    user.upload(wide_image)
    choose_model(user, "tiled")
    user.limit_answer(3)
    user.set_budget(9)
    user.ask("What is written here?")
    user.wait_for_answer(1)
    first = user.answers()
    assert "HD-9" in user.stats()[0]

    choose_model(user, "single")
    assert user.answers() == first
    note = user.page.locator("#ixc-pending-note").inner_text()
    assert "Model changed to single: it answers from here, with one view of 490 × 490" in note
    assert re.search(r"Freed \d+ MB that tiled held", note)
    assert user.page.locator("#ixc-budget-slider").is_disabled()
    assert "looks at the image once, squashed into 490 × 490 pixels" in user.page.locator("#ixc-budget-advice").inner_text()
    assert user.page.locator("#ixc-visual-tokens").inner_text().startswith("1,225 visual tokens of ")
    assert user.page.locator("#ixc-overlay svg").get_attribute("viewBox") == "0 0 490 490"
    # 3840 x 1600 on 490 x 490; the first of 7 x 7 regions is 548.57 x 228.57 original pixels.
    assert user.fact("scale") == "0.13×"
    user.page.locator(".ixc-hit").first.hover()
    assert "original pixels x 0–549, y 0–229" in user.page.locator("#ixc-tip").inner_text()
    user.screenshot("single-view")

    user.ask("And now?")
    user.wait_for_answer(2)
    assert user.answers()[0] == first[0]
    assert "one view of 490 × 490" in user.stats()[1]
    assert "Model changed to single" in user.page.locator(".ixc-exchange .ixc-note").inner_text()

    choose_model(user, "tiled")
    user.page.wait_for_function("() => ixc.last('plan').plan.kind === 'dynamic_partition'")
    assert user.page.locator("#ixc-budget-slider").is_enabled()
    assert user.page.locator(".ixc-budget-value").inner_text() == "9"  # what had been chosen for tiles


def test_inf_llava_answers_and_its_input_can_be_changed_in_between(visit, many_models, wide_image):
    user = visit(many_models.url)
    user.upload(wide_image)
    choose_model(user, "inf")
    user.page.wait_for_selector(".ixc-dual:not([hidden])")
    user.limit_answer(3)
    user.ask("What is written here?")
    user.wait_for_answer(1)
    user.page.click("[data-input='336']")
    user.page.wait_for_function("() => ixc.last('plan').plan.viewPx === 336")
    user.ask("And at 336 pixels?")
    user.wait_for_answer(2)
    assert len(user.answers()) == 2
    assert user.page.locator(".ixc-failed").count() == 0
    assert "1008" in user.stats()[0]
    assert "336" in user.stats()[1]


def test_the_token_grid_of_a_square_can_be_switched_off(visit, many_models, wide_image):
    user = visit(many_models.url)
    choose_model(user, "inf")
    user.upload(wide_image)
    grid = user.page.locator(".ixc-token-grid")
    assert grid.is_visible()
    user.page.uncheck("#ixc-layer-tokens")
    assert not grid.is_visible()
    user.page.click("[data-input='336']")
    user.page.wait_for_function("() => ixc.last('plan').plan.viewPx === 336")
    assert not grid.is_visible()
    user.page.check("#ixc-layer-tokens")
    assert grid.is_visible()


def test_an_example_asks_in_english_where_the_model_understands_nothing_else(visit, many_models):
    user = visit(many_models.url, locale="zh-CN")
    choose_model(user, "inf-nano")
    user.page.locator(".ixc-empty", has_text="请用英文提问").wait_for()
    user.page.locator(".ixc-example").nth(0).click()
    user.page.wait_for_selector("#ixc-overlay svg")
    assert user.page.locator("#ixc-question textarea").input_value() == "What does the sign say?"


def test_one_detail_is_compared_as_each_model_gets_it(visit, many_models, wide_image):
    user = visit(many_models.url)
    user.upload(wide_image)
    user.page.click("#ixc-tab-compare")
    user.page.wait_for_selector(".ixc-cmp-patches figure")
    user.page.click("#ixc-compare .ixc-pill:text-is('55')")
    user.page.wait_for_function("() => document.querySelector('#ixc-compare tbody').innerText.includes('8,137')")
    rows = [row.split("\t") for row in user.page.locator("#ixc-compare tbody").inner_text().splitlines() if row.strip()]
    table = " ".join(cell for row in rows for cell in row)
    # One view: 490 x 490 of 3840 x 1600. 11 x 5 tiles: 3696 x 1540. A square of 336 or 1008: 336 x 140 and 1008 x 420.
    for share in ("0.24 MP, 4 %", "5.69 MP, 93 %", "0.05 MP, 1 %", "0.42 MP, 7 %"):
        assert share in table
    assert "58.3 %" in table  # of the square: 1 - 1600 / 3840
    before = user.page.locator("#ixc-cmp-patches img").first.get_attribute("src")
    user.page.focus("#ixc-cmp-box")
    for _ in range(5):
        user.page.keyboard.press("ArrowLeft")
    user.page.wait_for_function("b => document.querySelector('#ixc-cmp-patches img').getAttribute('src') !== b", arg=before)
    user.screenshot("compare")
    check_both_themes_and_a_phone(user)
    user.page.click("#ixc-tab-evidence")
    assert user.page.locator("#ixc-evidence .ixc-chart").count() >= 2
    user.page.locator("#ixc-evidence summary").last.click()
    assert "87.4" in user.page.locator("#ixc-evidence table").filter(has_text="25 → 30").inner_text()
    user.screenshot("evidence")
    check_both_themes_and_a_phone(user)
