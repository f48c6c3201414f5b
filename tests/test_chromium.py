"""Which browser is driven: the one that is named, one that is installed, or the one that Playwright brought along."""

from __future__ import annotations

from pathlib import Path

import pytest

from ixc.chromium import find_chromium, launch_options


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """The only folder on the PATH, empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("IXC_CHROMIUM", raising=False)
    return folder


def install(path: Path) -> str:
    path.touch(mode=0o755)
    return str(path)


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_it_is_found_by_each_of_its_names(programs, name):
    assert find_chromium() is None
    program = install(programs / name)
    assert find_chromium() == program
    assert launch_options("/nowhere") == {"executable_path": program}


def test_the_one_that_is_named_goes_before_the_one_that_is_found(programs, monkeypatch):
    install(programs / "chromium")
    monkeypatch.setenv("IXC_CHROMIUM", "/opt/mine")
    assert launch_options("/nowhere") == {"executable_path": "/opt/mine"}


def test_playwright_s_own_serves_where_no_other_is_found(programs, tmp_path):
    own = tmp_path / "chrome"
    assert launch_options(str(own)) is None
    install(own)
    assert launch_options(str(own)) == {}, "Playwright starts its own when no other is named"
