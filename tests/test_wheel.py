"""The program installed without ``-e``, as by ``pip install git+...``: it brings what it shows, reads and answers with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest

from ixc.benchmarks.app_process import AppProcess

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("pyproject.toml", "requirements.txt", "README.md", "LICENSE")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what a wheel is made from: making it leaves files behind."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    for name in ("ixc", "assets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    return source


@pytest.fixture(scope="module")
def installed(source, tmp_path_factory) -> Path:
    """The folder into which pip has put the wheel."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--target", target]
    made = subprocess.run([*command, source], capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return target


@pytest.fixture(scope="module")
def env(installed) -> dict[str, str]:
    """Where Python finds the installed program and not the checkout."""
    env = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    found = subprocess.check_output([sys.executable, "-c", "import ixc; print(ixc.__file__)"], env=os.environ | env, text=True)
    assert Path(found.strip()).parents[1] == installed
    return env


def run(installed: Path, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(installed / "bin" / "ixc"), *args]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=120, check=False)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_every_package_is_named():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packages = [".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "ixc").rglob("__init__.py")]
    assert sorted(settings["packages"]) == sorted([*packages, "ixc.assets"])


def test_it_holds_the_files_of_the_checkout(source, installed):
    assert files(installed / "ixc") == files(source / "ixc") | {f"assets/{name}" for name in files(source / "assets")}


def test_it_plans_and_answers(installed, env):
    sign = str(installed / "ixc" / "assets" / "examples" / "sign.png")
    planned, answered = run(installed, env, "plan", sign), run(installed, env, "ask", sign, "What does the sign say?")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert "visual tokens" in planned.stdout
    assert answered.returncode == 0, answered.stderr
    assert answered.stdout.strip()


def test_it_serves_the_page(env):
    with AppProcess(env | {"IXC_MODEL": "no-such-model"}) as app:
        assert "window.IXC_STRINGS" in httpx.get(app.url).text


def test_what_only_a_checkout_has_is_said_in_one_sentence(installed, env):
    ended = run(installed, env, "space", "sync", "--check")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"ixc: There is no Spacefile in {installed}; name a checkout of the project with --project.\n"
