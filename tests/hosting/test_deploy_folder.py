"""The container and the service start what there is, with options that exist."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import yaml

from ixc.cli import build_parser
from ixc.hosting.hardware import Kind

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()


def instructions(name):
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


def test_the_container_copies_what_is_there_and_nothing_else_is_sent():
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert {"app.py", "ixc", "assets", "requirements.txt"} <= copied
    assert all((ROOT / name).exists() for name in copied)
    assert {line.removeprefix("!") for line in IGNORED if line.startswith("!")} == copied
    assert "*" in IGNORED


def test_the_container_runs_a_command_that_exists_on_the_python_that_is_tested():
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert yaml.safe_load(entry) == ["python", "-m", "ixc"]
    args = build_parser().parse_args(yaml.safe_load(command))
    assert (args.host, args.port) == ("0.0.0.0", 7860)
    spacefile = yaml.safe_load((ROOT / "Spacefile").read_text(encoding="utf-8"))
    assert f"ARG PYTHON_VERSION={spacefile['front_matter']['python_version']}\n" in DOCKERFILE
    assert instructions("USER") == ["ixc"], "not root"
    assert {Kind.CPU.value, "cuda"} <= set(re.findall(r" AS (\w+)$", DOCKERFILE, re.MULTILINE))


def test_the_service_runs_a_command_that_exists():
    unit = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    unit.optionxform = str
    unit.read(ROOT / "deploy" / "ixc.service")
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert program.endswith("/ixc")
    args = build_parser().parse_args(words)
    assert args.host == "127.0.0.1"
    assert args.auth == Path("%d/users")
    assert args.grace + 10 < float(unit["Service"]["TimeoutStopSec"]), "killed before its answers have been ended"
