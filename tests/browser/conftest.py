"""The real app in a process of its own, and a real Chromium that looks at it."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import APIResponse, Browser, BrowserContext, BrowserType, Page, Route, expect

from ixc.benchmarks.app_process import AppProcess
from ixc.chromium import launch_options
from tests.checkpoints import write_chat_checkpoint

ARTIFACTS = Path(os.environ.get("IXC_ARTIFACTS") or Path(__file__).parents[1] / "artifacts")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --use-fake-ui-for-media-stream --use-fake-device-for-media-stream"
)
TIMEOUT_MS = 1000 * float(os.environ.get("IXC_BROWSER_TIMEOUT_S", "30"))
"""For any one thing to appear; raise it on a machine that is busy with something else."""
expect.set_options(timeout=TIMEOUT_MS)
OWN_BUDGET = 25
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type: BrowserType) -> dict:
    options = launch_options(browser_type.executable_path)
    if options is None:
        if os.environ.get("IXC_SKIP_BROWSER") == "1":
            pytest.skip("no Chromium, and IXC_SKIP_BROWSER is 1")
        pytest.fail(
            "No Chromium was found: install the package chromium (Debian, Ubuntu), set IXC_CHROMIUM, or run "
            ".venv/bin/playwright install chromium; IXC_SKIP_BROWSER=1 leaves these tests out.",
            pytrace=False,
        )
    return {**options, "args": FLAGS.split()}


@pytest.fixture(scope="session")
def chat_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model whose answers are noise, long, and depend on every pixel. Its own budget is the paper's HD-25."""
    folder = write_chat_checkpoint(tmp_path_factory.mktemp("model"))
    config = folder / "processor_config.json"
    config.write_text(config.read_text().replace('"max_patches": 4', f'"max_patches": {OWN_BUDGET}'))
    assert f'"max_patches": {OWN_BUDGET}' in config.read_text()
    return folder


@pytest.fixture(scope="session")
def app(chat_checkpoint: Path, browser_type_launch_args: dict) -> Iterator[AppProcess]:
    # Small chunks, and nothing read ahead: the little model would else have read 64 tiles before a tester can press Stop.
    with AppProcess({"IXC_MODEL": str(chat_checkpoint), "IXC_PREFILL_CHUNK": "64", "IXC_READ_AHEAD": "off"}) as running:
        assert running.wait_for_model() == "ready", running.log()
        yield running


@pytest.fixture(scope="session")
def broken_app(tmp_path_factory: pytest.TempPathFactory, browser_type_launch_args: dict) -> Iterator[AppProcess]:
    """An app whose model folder does not exist and whose disk takes no file above 200 KB."""

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    folder = tmp_path_factory.mktemp("nothing") / "missing-model"
    with AppProcess({"IXC_MODEL": str(folder)}, preexec=fill_the_disk) as running:
        assert running.wait_for_model() == "failed"
        yield running


class Visitor:
    """A tab, and what its user does. Remembers everything that must not happen."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.requests: list[str] = []
        own_host = urlparse(url).netloc
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)

        def note(request) -> None:
            self.requests.append(request.url)
            address = urlparse(request.url)
            if address.scheme in ("http", "https", "ws", "wss") and address.netloc != own_host:
                self.foreign.append(request.url)

        self.page.on("request", note)
        self.page.goto(url)
        self.page.wait_for_selector("#ixc-choose", state="attached")
        self.page.wait_for_selector(".ixc-example")

    def forget_what_broke_off(self) -> None:
        """A page that is left while Gradio's script still waits for something has that end in an error of its own."""
        cut_off = ("AbortError", "Unexpected error Connection errored out")
        self.errors[:] = [error for error in self.errors if not error.startswith(cut_off)]

    def upload(self, path: Path) -> None:
        """Choose a file, and wait for the plan of that image: another one may be shown already."""
        self.page.set_input_files("#ixc-file", path)
        self.page.wait_for_function(
            """() => document.body.dataset.opening === 'false' && ixc.last('image')
                && ixc.last('plan')?.imageId === ixc.last('image').id"""
        )
        self.page.wait_for_selector("#ixc-overlay svg")

    def set_budget(self, budget: int) -> None:
        """Move the slider, and wait for its plan."""
        self.set_slider(budget)
        self.page.wait_for_function(f"() => ixc.last('plan')?.plan.budget === {budget}")

    def set_slider(self, budget: int) -> None:
        """As a drag does."""
        self.page.evaluate(
            "b => { const s = document.querySelector('#ixc-budget-slider'); s.value = b; "
            "s.dispatchEvent(new Event('input', { bubbles: true })); }",
            budget,
        )

    def limit_answer(self, num_tokens: int) -> None:
        """Set the answer length, so that noise comes to an end."""
        self.page.click("#ixc-settings-button")
        box = self.page.locator("#ixc-length input[type=number]")
        box.fill(str(num_tokens))
        box.blur()
        self.page.click("#ixc-settings-button")

    def ask(self, question: str) -> None:
        self.page.fill("#ixc-question textarea", question)
        self.page.keyboard.press("Enter")

    def wait_for_answer(self, number: int) -> None:
        """Until ``number`` answers stand complete."""
        self.page.wait_for_function(
            "n => document.body.dataset.busy !== 'true' && document.querySelectorAll('.ixc-answered .ixc-actions').length >= n",
            arg=number,
        )

    def answers(self) -> list[str]:
        return self.page.locator(".ixc-exchange .ixc-answer:not(.ixc-live)").all_inner_texts()

    def stats(self) -> list[str]:
        return self.page.locator(".ixc-exchange .ixc-stats:not(#ixc-stage-text)").all_inner_texts()

    def fact(self, name: str) -> str:
        return self.page.locator(f'[data-fact="{name}"] dd').inner_text()

    def screenshot(self, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")


def function_of(event: str, url: str) -> int:
    """Number of the app's function that answers this event of a widget."""
    dependencies = httpx.get(f"{url}/config").json()["dependencies"]
    return next(each["id"] for each in dependencies if event in [name for _, name in each["targets"]])


class Held:
    """The requests to ``address`` with ``part`` in their body: held back until they are let go on.

    ``answers``: the server gets them at once, and what it answers is held back.
    """

    def __init__(self, user: Visitor, address: str, part: str = "", *, answers: bool = False) -> None:
        self._user, self._part, self._answers = user, part, answers
        self._routes: list[tuple[Route, APIResponse | None]] = []
        self._is_open = False
        user.page.route(address, self._meet)

    def _meet(self, route: Route) -> None:
        if self._is_open or self._part not in (route.request.post_data or ""):
            route.continue_()
        else:
            self._routes.append((route, route.fetch() if self._answers else None))

    def wait(self) -> None:
        """Until there is one."""
        deadline_s = time.monotonic() + TIMEOUT_MS / 1000
        while not self._routes:
            assert time.monotonic() < deadline_s, "nothing was asked"
            self._user.page.evaluate("() => new Promise(requestAnimationFrame)")

    def let_go(self) -> None:
        self.wait()
        self._is_open = True
        for route, answer in self._routes:
            route.fulfill(response=answer) if answer else route.continue_()


@pytest.fixture
def visit(browser: Browser, app: AppProcess) -> Iterator[Callable[..., Visitor]]:
    """Open a tab in a browser profile of its own. After the test no script error and no foreign request may have happened."""
    visitors: list[Visitor] = []

    def open_tab(url: str | None = None, init_script: str = "", **options) -> Visitor:
        options.setdefault("viewport", DESKTOP)
        options.setdefault("locale", "en-US")
        context = browser.new_context(**options)
        context.set_default_timeout(TIMEOUT_MS)
        if init_script:
            context.add_init_script(init_script)
        visitor = Visitor(context, url or app.url)
        visitors.append(visitor)
        return visitor

    yield open_tab
    for visitor in visitors:
        visitor.page.context.close()
    assert [error for visitor in visitors for error in visitor.errors] == []
    assert [url for visitor in visitors for url in visitor.foreign] == []


@pytest.fixture(scope="session")
def wide_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3840x1600, the paper's example size."""
    picture = Image.new("RGB", (3840, 1600), "#fbf3e4")
    pen = ImageDraw.Draw(picture)
    for row in range(40):
        pen.text((100 + row % 4 * 900, 80 + row * 37), f"Berth {row:02d}  Evergreen  40,205", fill="#222222", font_size=44)
    path = tmp_path_factory.mktemp("images") / "wide.png"
    picture.save(path)
    return path


@pytest.fixture(scope="session")
def small_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "small.png"
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").save(path)
    return path
