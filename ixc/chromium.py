"""Which Chromium the browser tests, the slider's benchmark and the printed documents drive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium(env: Mapping[str, str] | None = None) -> str | None:
    """The program that IXC_CHROMIUM names, or the first one of the usual names on the PATH; None when there is none."""
    env = os.environ if env is None else env
    return env.get("IXC_CHROMIUM") or next((path for name in _NAMES if (path := shutil.which(name))), None)


def launch_options(playwright_s_own: str, env: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """What tells Playwright's ``launch`` which browser to start; None when there is none.

    ``playwright_s_own`` is where Playwright keeps the one it can install, its ``executable_path``: used where no other is
    found, and then it is best left to Playwright, so that nothing is said.
    """
    found = find_chromium(env)
    if found is not None:
        return {"executable_path": found}
    return {} if Path(playwright_s_own).is_file() else None
