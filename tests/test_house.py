"""What a newcomer and a Space rely on: files, pins, settings, and nothing that works on one machine only."""

import ast
import re
import shutil
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP_LEVEL = (
    *("app.py", "ixc", "assets", "tests", "Makefile", ".ci/run", "pyproject.toml", "Spacefile"),
    *("requirements.txt", "requirements-dev.txt", "requirements-gpu.txt", "requirements-vllm.txt"),
    *("README.md", "LICENSE", "CHANGELOG.md"),
)
MEGABYTE = 1024 * 1024


def tracked_files():
    """Every file of the repository; of a folder without git, every file that is not a build product."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        skipped = {".venv", ".venv-vllm", ".git", "__pycache__", "artifacts", ".pytest_cache", ".ruff_cache", ".hypothesis"}
        names = [
            str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.relative_to(ROOT).parts)
        ]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


FILES = tracked_files()
PACKAGE_SOURCES = [path for path in FILES if path.suffix == ".py" and path.is_relative_to(ROOT / "ixc")]
SOURCES = [path for path in FILES if path.suffix == ".py"]
TEXT_SUFFIXES = {"", ".py", ".md", ".txt", ".toml", ".yaml", ".yml", ".json", ".css", ".js", ".html", ".sh", ".cfg", ".csv"}
TEXT_SUFFIXES |= {".conf", ".service"}
TEXTS = [path for path in FILES if path.suffix in TEXT_SUFFIXES]


def requirements(name):
    """Lines of a requirements file without comments, options and blanks."""
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_the_top_level_is_complete(name):
    assert (ROOT / name).exists()


def test_the_licence_is_the_whole_of_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text) > 10_000


def test_scripts_can_be_run():
    for script in (ROOT / ".ci").iterdir():
        assert script.stat().st_mode & stat.S_IXUSR, script
        assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")


def test_ci_runs_lint_and_tests():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"make lint", "make test"} <= set(lines)


@pytest.mark.parametrize(("skipped", "brought"), [("", ["apt-get update", "apt-get install", "playwright install"]), ("1", [])])
def test_a_browser_is_brought_for_the_tests_unless_they_do_without(tmp_path, skipped, brought):
    """On a machine that has none, as root. The programs here only write down that they were called."""
    bash = shutil.which("bash")
    programs, environment = tmp_path / "programs", tmp_path / ".venv" / "bin"
    note = f'echo "${{0##*/}} $1" >> {tmp_path}/called'
    for path, says in ((programs / "apt-get", note), (programs / "id", "echo 0"), (environment / "playwright", note)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{bash}\n{says}\n")
        path.chmod(0o755)
    (tmp_path / "called").touch()
    env = {"PATH": str(programs), "IXC_SKIP_BROWSER": skipped}
    subprocess.run([bash, ROOT / ".ci" / "get-chromium"], cwd=tmp_path, env=env, check=True, timeout=60, capture_output=True)
    assert (tmp_path / "called").read_text().splitlines() == brought


# --- pins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", requirements("requirements.txt") + requirements("requirements-dev.txt"))
def test_every_requirement_is_pinned_and_is_what_runs_here(line):
    name, _, version = line.partition("==")
    assert re.fullmatch(r"\d+(\.\d+)+", version), f"pin {line} to one exact version"
    assert metadata.version(name).split("+")[0] == version  # a CPU build of torch calls itself 2.13.0+cpu


@pytest.mark.parametrize("line", requirements("requirements-gpu.txt"))
def test_what_needs_a_gpu_is_pinned_too(line):
    assert re.fullmatch(r"[a-z-]+==\d+(\.\d+)+(\.post\d+)?", line), f"pin {line} to one exact version"


def test_the_commands_for_a_gpu_are_those_of_their_file():
    """flash-attn's build needs two packages that it does not ask for."""
    file = (ROOT / "requirements-gpu.txt").read_text(encoding="utf-8")
    commands = re.findall(r"^#   (\S.*pip install .*)$", file, re.MULTILINE)
    assert commands[0].endswith(" install wheel ninja")
    in_readme = [line.partition("  #")[0].rstrip() for line in README.splitlines()]
    assert all(command in in_readme for command in commands)


def test_pins_that_others_rely_on():
    pins = dict(line.split("==") for line in requirements("requirements.txt"))
    assert int(pins["pillow"].split(".")[0]) < 13, "gradio refuses Pillow 13; pip would fall back to gradio 3"
    assert "flash-attn" not in pins, "flash-attn breaks the install without CUDA: requirements-gpu.txt"
    assert not {"torchvision", "pydantic"} & set(pins)


def _top_level_imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_nothing_is_imported_that_is_not_required():
    """A library that only happens to be there, as a dependency of another, can go with the next version of that other.

    Benchmarks of the page drive it from outside and may use what the tests use.
    """
    names = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml", "huggingface_hub": "huggingface-hub"}
    names["prometheus_client"] = "prometheus-client"
    required = {line.split("==")[0] for line in requirements("requirements.txt")}
    known = required | {"ixc", "gradio_client"}
    known |= {"flash_attn", "spaces", "torchao"}  # tried, and done without
    known |= {"vllm"}  # only in its plug-in, which is loaded by vLLM
    for path in [*PACKAGE_SOURCES, ROOT / "app.py"]:
        for_measuring = {line.split("==")[0] for line in requirements("requirements-dev.txt")}
        allowed = known | (for_measuring if {"benchmarks", "evaluation"} & {*path.parts} else set())
        imported = set(_top_level_imports(path)) - sys.stdlib_module_names
        assert {names.get(name, name) for name in imported} <= allowed, path


# --- what the code keeps to ---------------------------------------------------------------------------------------


def test_the_entry_point_stays_small():
    lines = (ROOT / "app.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 40, "app.py parses settings, builds and launches; everything else belongs in ixc/"


def test_the_package_logs_and_does_not_print():
    def prints(path):
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        return any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)

    quiet = [path for path in PACKAGE_SOURCES if "cli" not in path.relative_to(ROOT).with_suffix("").parts]
    assert quiet
    assert not [str(path.relative_to(ROOT)) for path in quiet if prints(path)]


def test_no_code_is_downloaded_and_run():
    def trusts(path):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        asked = (node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "trust_remote_code")
        return any(not (isinstance(value, ast.Constant) and value.value is False) for value in asked)

    assert not [str(path.relative_to(ROOT)) for path in SOURCES if trusts(path)]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_names_a_place_on_one_machine(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    places = re.findall(r"(?<![\w.])/(?:work|farm|root|home|Users)/[\w.]+|/tmp/bash_jobs|[A-Z]:\\Users", text)
    assert not places or path == Path(__file__)


def test_screens_and_server_know_engines_by_what_they_all_can():
    """What they are given may run its model elsewhere: ``RemoteEngine`` and ``ZeroGpuEngine`` have no runner, for one."""
    faces = [path for path in PACKAGE_SOURCES if {"application", "ui", "serving"} & {*path.parts}]
    assert faces
    assert not [str(path.relative_to(ROOT)) for path in faces if "ixc.chat.engine" in path.read_text(encoding="utf-8")]


def test_no_file_is_too_large_for_git():
    large = {str(path.relative_to(ROOT)): path.stat().st_size for path in FILES if path.stat().st_size > 20 * MEGABYTE}
    assert not {name: size for name, size in large.items() if not _may_be_large(name, size)}


def _may_be_large(name, size):
    """The small model's weights are the one exception, up to 25 MB."""
    return name.startswith("assets/models/") and size <= 25 * MEGABYTE


# --- the README ---------------------------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_and_pictures_of_the_readme_are_there():
    targets = re.findall(r"\]\(([^)#\s]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    local = [target for target in targets if not target.startswith(("http://", "https://"))]
    assert local
    assert not [target for target in local if not (ROOT / target).exists()]


def test_every_variable_that_is_read_is_in_the_readme_and_no_other():
    """Those of the package, of the tests and of the scripts, as the sources quote them."""
    scripts = [path for path in FILES if path.parent.name in (".ci", "deploy")]
    texts = [path.read_text(encoding="utf-8") for path in [*SOURCES, *scripts]]
    variables = {name for text in texts for name in re.findall(r"""["'](IXC_[A-Z_]+[A-Z])["']|\$\{(IXC_[A-Z_]+)""", text)}
    variables = {name or in_script for name, in_script in variables}
    assert len(variables) > 30
    assert variables == set(re.findall(r"`(IXC_[A-Z_]+[A-Z])\b", README))


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(re.findall(r"```\w*\n(.*?)```", README, re.DOTALL))))
    assert named
    assert named <= targets


def python_examples(*, with_server):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return [block for block in blocks if ("gradio_client" in block) == with_server]


def test_the_readme_s_python_does_what_its_comments_say(capsys):
    (example,) = python_examples(with_server=False)
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == re.search(r"print\(plan\.grid.*\)  # (.*)", example)[1]
    # 3840 pixels on 3696, and 1600 on 1540 below 70 of padding: a tile of 336 shows this much of the original.
    width, height = 336 * 3840 / 3696, (336 - 70) * 1600 / 1540
    assert [float(number) for number in re.findall(r"[\d.]+", printed[1])] == pytest.approx([0, 0, width, height])


def test_the_readme_s_plan_is_what_the_command_prints():
    shown = re.search(r"\$ ixc (plan .*)\n((?:.*\n)*?)```", README)
    command = [sys.executable, "-m", "ixc", *shown[1].split()]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == shown[2]
