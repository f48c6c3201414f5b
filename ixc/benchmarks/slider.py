"""How fast the plan follows the slider, and what a move weighs: ``python -m ixc.benchmarks.slider``.

Starts the real app, uploads a 3840x2160 picture, and moves the slider through every budget: first over HTTP (request to whole
answer), then, where Playwright and Chromium are installed, in the browser (moved slider to drawn overlay).
"""

from __future__ import annotations

import argparse
import io
import logging
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ixc.benchmarks.app_process import AppProcess, describe_hardware, settings_of_the_shell
from ixc.benchmarks.measuring import Figure, Target, write_result
from ixc.benchmarks.out_file import check_out
from ixc.benchmarks.page_client import PageClient
from ixc.chromium import launch_options
from ixc.errors import SettingsError
from ixc.settings import Settings

logger = logging.getLogger(__name__)

IMAGE_WIDTH_PX, IMAGE_HEIGHT_PX = 3840, 2160
MAX_BUDGET = 64
TIME_TARGET, SIZE_TARGET = Target(150), Target(20)

# Runs in the page: move the slider as a drag does, and wait until the overlay of that budget is on the screen.
_MOVE_IN_PAGE = """async (budget) => {
  const slider = document.querySelector('#ixc-budget-slider');
  const before = document.querySelector('#ixc-overlay svg');
  const start = performance.now();
  slider.value = budget;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  while (document.querySelector('#ixc-overlay svg') === before) await new Promise((done) => requestAnimationFrame(done));
  await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - start;
}"""

CHROMIUM_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


def test_picture() -> bytes:
    """A 3840x2160 JPEG with detail everywhere, so that its size is that of a real one."""
    y, x = np.mgrid[0:IMAGE_HEIGHT_PX, 0:IMAGE_WIDTH_PX]
    pixels = np.stack([(x // 7 + y // 5) % 256, (x // 3) % 256, (x * y // 4000) % 256], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


test_picture.__test__ = False  # a picture for tests, not a test


def percentile(values: list[float], share: float) -> float:
    """Nearest rank: the smallest value that ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, int(np.ceil(share * len(ordered))) - 1)]


def measure_http(url: str, picture: bytes, num_rounds: int) -> tuple[list[float], list[int]]:
    """Milliseconds and bytes of each move."""
    times_ms, sizes = [], []
    page = PageClient(url)
    try:
        page.upload("picture.jpg", picture)
        for budget in _moves(num_rounds):
            start_s = time.perf_counter()
            call = page.move_slider(budget)
            times_ms.append((time.perf_counter() - start_s) * 1000)
            sizes.append(call.num_bytes)
    finally:
        page.close()
    return times_ms, sizes


def measure_browser(url: str, picture: bytes, num_rounds: int) -> list[float] | None:
    """Milliseconds of each move in Chromium; None when that or Playwright is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        options = launch_options(playwright.chromium.executable_path)
        if options is None:
            return None
        browser = playwright.chromium.launch(args=list(CHROMIUM_FLAGS), **options)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.set_input_files("#ixc-file", {"name": "picture.jpg", "mimeType": "image/jpeg", "buffer": picture})
        page.wait_for_selector("#ixc-overlay svg")
        times_ms = [page.evaluate(_MOVE_IN_PAGE, budget) for budget in _moves(num_rounds)]
        browser.close()
    return times_ms


def _moves(num_rounds: int) -> list[int]:
    """Every budget, up and down, never twice the same in a row; not the page's first one at the start."""
    up_and_down = [*range(1, MAX_BUDGET + 1), *range(MAX_BUDGET - 1, 1, -1)]
    return up_and_down * num_rounds


def _line(name: str, times_ms: list[float]) -> str:
    median, p95 = statistics.median(times_ms), percentile(times_ms, 0.95)
    return f"{name:<28} median {median:6.1f} ms   p95 {p95:6.1f} ms   max {max(times_ms):6.1f} ms   {len(times_ms)} moves"


def figures(http_ms: list[float], browser_ms: list[float] | None, sizes_kb: list[float]) -> list[Figure]:
    """What is written; nothing of the browser where there is none. The 95th percentile and the largest size have a limit."""
    found = []
    for name, times_ms, target in (("HTTP", http_ms, None), ("browser", browser_ms, TIME_TARGET)):
        if times_ms:
            found.append(Figure(f"{name}, median", statistics.median(times_ms), "ms"))
            found.append(Figure(f"{name}, p95", percentile(times_ms, 0.95), "ms", target=target))
    found.append(Figure("on the wire, median", statistics.median(sizes_kb), "KB"))
    return [*found, Figure("on the wire, largest", max(sizes_kb), "KB", target=SIZE_TARGET)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="how often to go through all budgets (default 1)")
    parser.add_argument("--model", help="the model whose costs are shown (default: the app's)")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    args = parser.parse_args(argv)
    try:
        if args.out:
            check_out(args.out)
    except SettingsError as error:
        parser.error(str(error))
    picture = test_picture()
    out = sys.stdout.write
    settings = {"IXC_MODEL": Settings().model} | settings_of_the_shell() | ({"IXC_MODEL": args.model} if args.model else {})
    with AppProcess(settings) as app:
        phase = app.wait_for_model()
        out(f"slider move to new plan, {IMAGE_WIDTH_PX}x{IMAGE_HEIGHT_PX} picture; {describe_hardware()}; model {phase}\n")
        times_ms, sizes = measure_http(app.url, picture, args.rounds)
        out(_line("HTTP, request to answer", times_ms) + "\n")
        kb = [size / 1000 for size in sizes]
        out(f"{'on the wire, both ways':<28} median {statistics.median(kb):6.1f} KB   max {max(kb):6.1f} KB\n")
        in_browser = measure_browser(app.url, picture, args.rounds)
        out(
            (_line("browser, slider to overlay", in_browser) if in_browser else "browser: Chromium or Playwright missing")
            + "\n"
        )
    if args.out:
        moved = {"model": settings["IXC_MODEL"], "image": f"{IMAGE_WIDTH_PX}x{IMAGE_HEIGHT_PX}", "moves": len(times_ms)}
        write_result(args.out, moved, figures(times_ms, in_browser, kb))
    return 0


if __name__ == "__main__":
    sys.exit(main())
