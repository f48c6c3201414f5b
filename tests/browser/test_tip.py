"""What the page says of the tile, or the stretch of the sequence, that somebody points at: by mouse, finger and keyboard."""

from __future__ import annotations

import pytest


def test_a_tile_tells_its_pixels_and_tokens_and_lights_up_in_the_ribbon(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    user.page.hover('.ixc-hit[data-tile="10"]')
    tip = user.page.locator("#ixc-tip")
    tip.wait_for()
    # Column 4 of 7: padded x 1008 to 1344, times 3840/2352. Row 2 of 3: padded y 336 to 672, less 14, times 1600/980.
    assert "Tile 11 row 2, column 4" in tip.inner_text()
    assert "x 1645–2195, y 525–1075" in tip.inner_text()
    assert "144 tokens in 12 runs: rows 13–24, columns 37–48" in tip.inner_text()
    # 157 tokens before the local map, 12 rows of 85, then 36 columns; the last is 11 rows of 85 and 11 tokens on; from 1.
    before = user.page.evaluate("ixc.last('plan').text.before")
    assert before > 0
    place = f"no. {1214 + before:,} to {2160 + before:,} in the sequence, 1,214 to 2,160 of the image"
    assert place in tip.inner_text()
    cut_off = [line for line in tip.locator("p").all() if line.evaluate("line => line.scrollWidth > line.clientWidth")]
    assert cut_off == []
    assert user.page.locator("#ixc-ribbon .ixc-lit").get_attribute("data-tile") == "10"
    user.screenshot("desktop-tile")


def test_the_tip_stays_with_its_tile_while_the_page_scrolls(visit, wide_image):
    user = visit(viewport={"width": 390, "height": 620}, is_mobile=True, has_touch=True)
    user.upload(wide_image)
    user.page.tap('.ixc-hit[data-tile="9"]')
    tip, tile = user.page.locator("#ixc-tip"), user.page.locator('.ixc-hit[data-tile="9"]')
    tip.wait_for()

    def distance() -> float:
        return tip.bounding_box()["y"] - tile.bounding_box()["y"]

    before, top = distance(), tip.bounding_box()["y"]
    user.page.evaluate("document.querySelector('#ixc-image-pane').scrollBy(0, 40)")
    user.page.wait_for_function("top => document.querySelector('#ixc-tip').getBoundingClientRect().top < top", arg=top)
    assert distance() == pytest.approx(before, abs=1)
    user.page.evaluate("document.querySelector('#ixc-image-pane').scrollBy(0, 2000)")
    tip.wait_for(state="hidden")  # its tile is out of sight


def test_a_stretch_of_the_ribbon_lights_up_its_tile(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    ribbon = user.page.locator("#ixc-ribbon").bounding_box()
    svg = user.page.locator("#ixc-ribbon svg")
    before, total = int(svg.get_attribute("data-before")), int(svg.get_attribute("data-total"))
    token = 157 + 13 * 85 + 2 * 12 + 6  # second row of tiles, third column: tile 9, counted from 0
    user.page.mouse.move(ribbon["x"] + ribbon["width"] * (before + token + 0.5) / total, ribbon["y"] + ribbon["height"] * 0.3)
    assert user.page.locator(".ixc-hit.ixc-lit").get_attribute("data-tile") == "9"
    user.page.locator("#ixc-tip").wait_for()
    assert "Tile 10 row 2, column 3" in user.page.locator("#ixc-tip").inner_text()


def test_every_stretch_of_the_ribbon_says_what_it_is(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    ribbon, tip = user.page.locator("#ixc-ribbon").bounding_box(), user.page.locator("#ixc-tip")
    before, after = user.page.evaluate("[ixc.last('plan').text.before, ixc.last('plan').text.after]")
    total = before + 3217 + after
    lit = user.page.locator("#ixc-ribbon .ixc-lit")

    def point_at(token: float) -> str:
        user.page.mouse.move(ribbon["x"] + ribbon["width"] * token / total, ribbon["y"] + ribbon["height"] * 0.3)
        return tip.inner_text().replace("\n\n", "\n")

    # The paper's sequence, counted by hand: 12 rows of 12 + 1, then the separator; the last stretch is the question's.
    said = point_at(before + 80)
    assert said == (
        f"global view, 12 rows of 12 + ↵\n156 tokens\nno. {before + 1} to {before + 156} in the sequence, 1 to 156 of the image"
    )
    assert lit.get_attribute("data-part") == "global"
    assert user.page.locator(".ixc-global.ixc-lit").count() == 1
    assert point_at(before + 156.5) == f"separator\nno. {before + 157} in the sequence, 157 of the image"
    assert lit.get_attribute("data-part") == "separator"
    assert user.page.locator(".ixc-global.ixc-lit, .ixc-hit.ixc-lit").count() == 0
    assert f"no. {before + 3218:,} to {total:,} in the sequence" in point_at(total - after / 2)
    user.page.hover(".ixc-global")  # and the other way round
    assert lit.get_attribute("data-part") == "global"
    user.page.mouse.move(0, 0)
    assert not tip.is_visible()
    user.page.focus("#ixc-model-chip")
    for _ in range(40):
        user.page.keyboard.press("Tab")
        if tip.is_visible() and "global view" in tip.inner_text():
            break
    else:
        pytest.fail("the Tab key does not come to the global view")


def test_escape_takes_the_tip_away(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    tip = user.page.locator("#ixc-tip")
    user.page.hover('.ixc-hit[data-tile="10"]')
    assert tip.is_visible()
    user.page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert user.page.locator(".ixc-lit").count() == 0
    user.page.hover('.ixc-hit[data-tile="11"]')
    assert tip.is_visible()
    user.page.mouse.move(0, 0)
    user.page.focus('.ixc-hit[data-tile="0"]')
    user.page.keyboard.press("ArrowRight")
    assert tip.is_visible()
    user.page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_tiles_can_be_walked_with_the_keyboard(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    user.page.focus('.ixc-hit[data-tile="0"]')
    user.page.keyboard.press("ArrowRight")
    user.page.keyboard.press("ArrowDown")
    assert user.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Tile 9: row 2, column 2"
    user.page.locator("#ixc-tip").wait_for()
    assert "Tile 9" in user.page.locator("#ixc-tip").inner_text()
