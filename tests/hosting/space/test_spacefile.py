"""One source for the Space's settings: the README says the same, and Hugging Face knows every field."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

import pytest
import yaml
from huggingface_hub import SpaceHardware
from hypothesis import given
from hypothesis import strategies as st

from ixc.cli import main
from ixc.hosting.space.files import list_space_files
from ixc.hosting.space.hardware import HARDWARE, Kind
from ixc.hosting.space.requirement_check import read_pins, requirement_problems
from ixc.hosting.space.spacefile import (
    PROJECT,
    SpaceError,
    front_matter_text,
    read_spacefile,
    split_front_matter,
    synced_readme,
)
from ixc.models.presets import PRESETS

README = (PROJECT / "README.md").read_text(encoding="utf-8")
RAW = yaml.safe_load((PROJECT / "Spacefile").read_text(encoding="utf-8"))

# Copied by hand from https://huggingface.co/docs/hub/spaces-config-reference.
DOCUMENTED = {
    *("title", "emoji", "colorFrom", "colorTo", "sdk", "python_version", "sdk_version", "suggested_hardware"),
    *("suggested_storage", "app_file", "app_build_command", "app_port", "base_path", "fullWidth", "header"),
    *("short_description", "models", "datasets", "tags", "thumbnail", "pinned", "hf_oauth", "hf_oauth_expiration_minutes"),
    *("hf_oauth_scopes", "disable_embedding", "startup_duration_timeout", "custom_headers", "preload_from_hub", "license"),
}


@pytest.fixture(scope="module")
def spacefile():
    return read_spacefile()


def front_matter():
    match = re.match(r"---\n(.*?)\n---\n", README, re.DOTALL)
    assert match, "README.md must begin with the Space's settings between two lines of ---"
    return yaml.safe_load(match[1])


def test_the_readme_s_settings_are_the_spacefile_s():
    settings = front_matter()
    assert settings.pop("suggested_hardware") == RAW["hardware"]
    assert settings == RAW["front_matter"]
    assert main(["space", "sync", "--check"]) == 0


def test_every_field_is_documented():
    assert set(front_matter()) <= DOCUMENTED


def test_the_space_runs_what_is_tested():
    settings = RAW["front_matter"]
    assert settings["sdk_version"] == read_pins(PROJECT / "requirements.txt")["gradio"] == metadata.version("gradio")
    assert (PROJECT / settings["app_file"]).is_file()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert settings["license"] == project["license"].lower()
    oldest = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    for on in ({}, *RAW["front_matter_on"].values()):
        assert tuple(map(int, {**settings, **on}["python_version"].split("."))) >= oldest


def test_hardware_has_the_hub_s_names():
    assert set(HARDWARE) <= {str(flavor.value) for flavor in SpaceHardware}
    assert {HARDWARE[name].kind for name in RAW["models"]} == set(Kind)
    assert set(RAW["models"].values()) <= set(PRESETS)


def test_every_variable_is_one_that_the_app_reads():
    sources = "\n".join((PROJECT / "ixc" / name).read_text() for name in ("settings.py", "hosting/options.py"))
    known = set(re.findall(r'"(IXC_[A-Z_]+)"', sources))
    assert set(RAW["variables"]) <= known
    assert set(RAW["secrets"]) <= known | {"HF_TOKEN"}


def changed(path, value):
    """The Spacefile with one value replaced; ``path`` is dotted."""
    raw = yaml.safe_load((PROJECT / "Spacefile").read_text(encoding="utf-8"))
    *parents, last = path.split(".")
    place = raw
    for name in parents:
        place = place[name]
    place[last] = value
    return yaml.safe_dump(raw, allow_unicode=True)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("front_matter.python_version", 3.1, "put it in quotes"),
        ("front_matter.python_version", "two", "like 3.11"),
        ("front_matter.colorFrom", "crimson", "colorFrom"),
        ("front_matter.pinned", "no", "pinned must be a bool"),
        ("front_matter.short_description", "x" * 61, "too long"),
        ("front_matter.colour", "blue", "documents no field colour"),
        ("front_matter.suggested_hardware", "cpu-basic", "leave it out"),
        ("front_matter.sdk", "docker", "must be gradio"),
        ("hardware", "t4-small", "none for the default hardware"),
        ("models.abacus", "ixc-nano", "no hardware 'abacus'"),
        ("models.cpu-basic", "gpt", "no model 'gpt'"),
        ("suggested_storage", "huge", "suggested_storage must be one of"),
        ("storage", "small", "does not know the key storage"),
        ("sleep_time_s", 0, "sleep_time_s"),
        ("variables.IXC_MAX_WAITING", 30, "put it in quotes"),
        ("variables.HF_TOKEN", "x", "both a variable and a secret"),
        ("colour", "blue", "does not know the key colour"),
    ],
)
def test_a_wrong_spacefile_is_refused(tmp_path, path, value, says):
    (tmp_path / "Spacefile").write_text(changed(path, value), encoding="utf-8")
    with pytest.raises(SpaceError, match=re.escape(says)):
        read_spacefile(tmp_path)


def test_storage_is_suggested_and_no_more(tmp_path):
    """The Hub's client can ask for none; the field is for who duplicates the Space."""
    (tmp_path / "Spacefile").write_text(changed("suggested_storage", "small"), encoding="utf-8")
    assert read_spacefile(tmp_path).front_matter_for("cpu-basic")["suggested_storage"] == "small"
    assert "suggested_storage" not in read_spacefile().front_matter_for("cpu-basic")


def test_a_folder_without_one(tmp_path):
    with pytest.raises(SpaceError, match="name a checkout"):
        read_spacefile(tmp_path)
    (tmp_path / "Spacefile").write_text("a: [")
    with pytest.raises(SpaceError, match="cannot be read"):
        read_spacefile(tmp_path)


def test_sync_writes_the_front_matter_and_nothing_else(tmp_path, capsys):
    (tmp_path / "Spacefile").write_text(changed("front_matter.title", "Another: \u201ctitle\u201d 图"), encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    command = ["space", "sync", "--project", str(tmp_path)]
    assert main([*command, "--check"]) == 1
    assert "ixc space sync" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == README
    assert main(command) == 0
    settings, body = split_front_matter((tmp_path / "README.md").read_text(encoding="utf-8"))
    assert settings["title"] == "Another: \u201ctitle\u201d 图"
    assert body == README.partition("\n---\n")[2]
    assert main([*command, "--check"]) == 0


def test_a_readme_without_front_matter_gets_one(spacefile):
    body = "# Title\n\n---\n\nA rule above.\n"
    assert split_front_matter(synced_readme(spacefile, body)) == (front_matter(), body)


def test_each_hardware_s_front_matter(spacefile):
    zero = spacefile.front_matter_for("zero-a10g")
    assert zero["python_version"] == RAW["front_matter_on"]["zero-a10g"]["python_version"]
    assert zero["preload_from_hub"] == RAW["preload"]["4khd-7b"]
    assert "preload_from_hub" not in spacefile.front_matter_for("cpu-basic")


PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")))
FRONT_MATTER = st.dictionaries(st.sampled_from(sorted(DOCUMENTED)), PRINTABLE | st.booleans() | st.lists(PRINTABLE), max_size=5)


@given(FRONT_MATTER, st.text())
def test_front_matter_survives_being_written(settings, body):
    """Whatever stands in it: colons, dashes, quotes, other scripts."""
    written = front_matter_text(settings)
    assert split_front_matter(written + body) == (settings, body)


def test_patterns(tmp_path, spacefile):
    from dataclasses import replace

    for name in (
        "app.py",
        "ixc/a.py",
        "ixc/deep/er/b.py",
        "ixc/__pycache__/a.pyc",
        "ixc/training/t.py",
        "notes.txt",
        ".env",
        "ixcx/c.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    only = replace(spacefile, files=("app.py", "ixc/**"), not_files=("**/__pycache__/**", "ixc/training/**"))
    assert [file.name for file in list_space_files(tmp_path, only, "")] == ["app.py", "ixc/a.py", "ixc/deep/er/b.py"]
    shallow = replace(spacefile, files=("ixc/*.py",), not_files=())
    assert [file.name for file in list_space_files(tmp_path, shallow, "")] == ["ixc/a.py"]
    with pytest.raises(SpaceError, match="no such file"):
        list_space_files(tmp_path, replace(spacefile, files=("app.py", "weights/**")), "")
    (tmp_path / "ixc" / "passwords").symlink_to("/etc/hostname")
    with pytest.raises(SpaceError, match="outside the project"):
        list_space_files(tmp_path, only, "")


# --- requirements -------------------------------------------------------------------------------------------------

PINS = read_pins(PROJECT / "requirements.txt")


def test_the_pins_fit_together_on_every_python_that_is_named():
    versions = {RAW["front_matter"]["python_version"], *(on["python_version"] for on in RAW["front_matter_on"].values())}
    assert not {version: problems for version in versions if (problems := requirement_problems(PINS, version))}


@pytest.mark.parametrize(
    ("pins", "python_version", "says"),
    [
        (PINS, "3.9", "needs Python >=3.1"),
        ({**PINS, "pillow": "13.0.0"}, "3.11", "gradio .* needs pillow.*, and 13.0.0 is pinned"),
        ({**PINS, "mcp": "2.3.0"}, "3.11", r"built with gradio\[mcp\], which needs mcp<2.*, and 2.3.0 is pinned"),
        ({**PINS, "numpy": "1.0"}, "3.11", "numpy is pinned to 1.0 and was tested with"),
        ({**PINS, "no-such-package": "1.0"}, "3.11", "no-such-package, which requirements.txt needs, is not installed"),
    ],
)
def test_pins_that_do_not_fit_are_named(pins, python_version, says):
    assert any(re.search(says, problem) for problem in requirement_problems(pins, python_version))


def test_an_open_requirement_is_refused(tmp_path):
    (tmp_path / "requirements.txt").write_text("# a comment\ngradio>=6\n")
    with pytest.raises(ValueError, match="pin it"):
        read_pins(tmp_path / "requirements.txt")
