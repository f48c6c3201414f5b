"""The Spacefile: read, checked against what Hugging Face documents, and written into the README's front matter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ixc.errors import IxcError
from ixc.hosting.space.hardware import HARDWARE, find_hardware
from ixc.models.presets import PRESETS

PROJECT = Path(__file__).resolve().parents[3]
"""The checkout this program runs from."""
STORAGES = ("none", "small", "medium", "large")
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
DOCUMENTED_FIELDS: Mapping[str, type] = {
    **dict.fromkeys(("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file"), str),
    **dict.fromkeys(("suggested_hardware", "suggested_storage", "base_path", "short_description", "license", "thumbnail"), str),
    **dict.fromkeys(("header", "startup_duration_timeout", "app_build_command"), str),
    **dict.fromkeys(("pinned", "fullWidth", "hf_oauth", "disable_embedding"), bool),
    **dict.fromkeys(("models", "datasets", "tags", "preload_from_hub", "hf_oauth_scopes"), list),
    **dict.fromkeys(("app_port", "hf_oauth_expiration_minutes"), int),
    "custom_headers": dict,
}
"""Source: https://huggingface.co/docs/hub/spaces-config-reference."""
_REQUIRED = ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file")
_DERIVED = ("suggested_hardware", "suggested_storage", "preload_from_hub")
_MAX_DESCRIPTION_CHARS = 60
"""The Hub refuses longer ones."""
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class SpaceError(IxcError):
    """The Space cannot be described, checked or deployed."""


@dataclass(frozen=True, slots=True)
class Spacefile:
    """Every setting of the Space. Raises SpaceError naming the key that is wrong."""

    front_matter: Mapping[str, Any]
    hardware: str
    models: Mapping[str, str]
    """The preset that each hardware runs."""
    files: tuple[str, ...]
    front_matter_on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preload: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    suggested_storage: str = "none"
    sleep_time_s: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    not_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(self.hardware in self.models, f"models: there is none for the default hardware {self.hardware!r}")
        for hardware in (*self.models, *self.front_matter_on):
            _require(hardware in HARDWARE, f"there is no hardware {hardware!r}")
        for preset in (*self.models.values(), *self.preload):
            _require(preset in PRESETS, f"there is no model {preset!r}")
        storage = self.suggested_storage
        _require(storage in STORAGES, f"suggested_storage must be one of {', '.join(STORAGES)}, not {storage!r}")
        sleep_time_s = self.sleep_time_s
        _require(
            sleep_time_s is None or sleep_time_s == -1 or sleep_time_s > 0, "sleep_time_s must be seconds, or -1 for never"
        )
        for name, value in self.variables.items():
            _require(_VARIABLE.fullmatch(name) is not None, f"variables: {name!r} is no name of a variable")
            _require(isinstance(value, str), f"variables: the value of {name} must be a text; put it in quotes")
        _require(not self.variables.keys() & self.secrets.keys(), "a name is both a variable and a secret")
        for name in _DERIVED:
            _require(name not in self.front_matter, f"front_matter: {name} follows from the other settings; leave it out")
        for hardware in self.models:
            check_front_matter(self.front_matter_for(hardware))

    def model_for(self, hardware: str) -> str:
        """The preset that ``hardware`` runs. Raises SettingsError for unknown hardware, SpaceError where nothing runs."""
        find_hardware(hardware)
        if hardware not in self.models:
            raise SpaceError(
                f"The Spacefile names no model for {hardware}; give --model NAME, or choose one of {', '.join(self.models)}."
            )
        return self.models[hardware]

    def front_matter_for(self, hardware: str, model: str | None = None) -> dict[str, Any]:
        """What stands at the top of the README of a Space on ``hardware``."""
        settings = {**self.front_matter, **self.front_matter_on.get(hardware, {}), "suggested_hardware": hardware}
        if self.suggested_storage != "none":
            settings["suggested_storage"] = self.suggested_storage
        if preload := self.preload.get(model or self.models[hardware]):
            settings["preload_from_hub"] = list(preload)
        return settings

    def variables_for(self, hardware: str, model: str | None = None) -> dict[str, str]:
        return {"IXC_MODEL": model or self.model_for(hardware), **self.variables}


def read_spacefile(project: Path = PROJECT) -> Spacefile:
    """Raises SpaceError."""
    path = project / "Spacefile"
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpaceError(f"There is no Spacefile in {project}; name a checkout of the project with --project.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpaceError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from error
    known = {f.name for f in fields(Spacefile)}
    _require(isinstance(raw, dict), "it must be a list of keys and values")
    _require(not raw.keys() - known, f"it does not know the key {', '.join(sorted(map(str, raw.keys() - known)))}")
    for name in ("front_matter", "hardware", "models", "files"):
        _require(name in raw, f"the key {name} is missing")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items() if value is not None}
    return Spacefile(**values)


def check_front_matter(settings: Mapping[str, Any]) -> None:
    """Raises SpaceError unless ``settings`` are documented fields with values of the documented kinds."""
    for name in _REQUIRED:
        _require(name in settings, f"front_matter: {name} is missing")
    for name, value in settings.items():
        _require(name in DOCUMENTED_FIELDS, f"front_matter: Hugging Face documents no field {name}")
        kind = DOCUMENTED_FIELDS[name]
        hint = "; put it in quotes" if kind is str else ""
        _require(
            isinstance(value, kind) and not (kind is int and isinstance(value, bool)),
            f"front_matter: {name} must be a {kind.__name__}{hint}",
        )
    for name in ("colorFrom", "colorTo"):
        _require(settings[name] in COLOURS, f"front_matter: {name} must be one of {', '.join(COLOURS)}")
    _require(settings["sdk"] == "gradio", "front_matter: sdk must be gradio")
    _require(
        re.fullmatch(r"3\.\d+(\.\d+)?", settings["python_version"]) is not None,
        "front_matter: python_version must be like 3.11",
    )
    _require(
        len(settings.get("short_description", "")) <= _MAX_DESCRIPTION_CHARS, "front_matter: short_description is too long"
    )


def front_matter_text(settings: Mapping[str, Any]) -> str:
    """``settings`` between two lines of dashes, in their order."""
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{text}---\n"


def split_front_matter(readme: str) -> tuple[dict[str, Any], str]:
    """What the README says at its top, and the rest. No front matter: nothing and everything."""
    match = _FRONT_MATTER.match(readme)
    if match is None:
        return {}, readme
    try:
        settings = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        raise SpaceError("The README's front matter is not YAML; run: ixc space sync") from error
    return settings if isinstance(settings, dict) else {}, readme[match.end() :]


def synced_readme(spacefile: Spacefile, readme: str, hardware: str | None = None, model: str | None = None) -> str:
    """``readme`` under the front matter of a Space on ``hardware`` (the Spacefile's own by default)."""
    _, body = split_front_matter(readme)
    return front_matter_text(spacefile.front_matter_for(hardware or spacefile.hardware, model)) + body


def _require(is_fine: bool, message: str) -> None:
    if not is_fine:
        raise SpaceError(f"The Spacefile is wrong: {message}.")
