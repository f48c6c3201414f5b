"""Takes the README's screenshot with the app's own model: ``python -m tests.browser.make_screenshot [FILE]``. Not a test."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from ixc.benchmarks.app_process import AppProcess
from ixc.chromium import find_chromium
from tests.browser.conftest import DESKTOP, FLAGS, Visitor

TARGET = Path(__file__).parents[2] / "assets" / "ui" / "screenshot.png"
MAX_BYTES = 400_000
# What the small model can do: a sign, a label. Then the poster, whose tiles show the idea.
ASKED_EXAMPLES = (0, 2)
SHOWN_EXAMPLE, SHOWN_TILE = 6, 11


def main(target: Path = TARGET) -> int:
    with AppProcess({"IXC_MODEL": os.environ.get("IXC_MODEL", "ixc-nano")}) as app, sync_playwright() as playwright:
        if app.wait_for_model() != "ready":
            sys.stderr.write(f"The model is not there, so nothing can answer:\n{app.log()[-500:]}\n")
            return 1
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS.split())
        context = browser.new_context(viewport=DESKTOP, locale="en-US")
        context.set_default_timeout(120_000)
        user = Visitor(context, app.url)
        user.limit_answer(64)
        for number, example in enumerate(ASKED_EXAMPLES, start=1):
            pick(user, example)
            user.page.click("#ixc-send")
            user.wait_for_answer(number)
        pick(user, SHOWN_EXAMPLE)
        user.page.hover(f'.ixc-hit[data-tile="{SHOWN_TILE}"]')
        user.page.wait_for_function("() => document.querySelector('#ixc-picture').complete")
        picture = Image.open(io.BytesIO(user.page.screenshot())).convert("RGB")
        browser.close()
    picture.save(target, optimize=True)
    if target.stat().st_size > MAX_BYTES:
        picture.quantize(256).save(target, optimize=True)
    size = target.stat().st_size
    sys.stdout.write(f"{target.name}: {size / 1000:.0f} KB\n")
    return 0 if size <= MAX_BYTES else 1


def pick(user: Visitor, example: int) -> None:
    """Click an example, and wait for its plan and for the model to have read it."""
    before = user.page.evaluate("ixc.last('image')?.id ?? ''")
    user.page.locator(".ixc-example").nth(example).click()
    user.page.wait_for_function(
        "id => ixc.last('image')?.id !== id && ixc.last('plan')?.imageId === ixc.last('image')?.id", arg=before
    )
    user.page.locator('[data-fact="cost"]', has_text="the image is read").wait_for()


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
