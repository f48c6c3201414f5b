"""From a YAML file to a run's frozen settings: unknown names, missing ones and values of the wrong kind are refused."""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields
from pathlib import Path

import yaml

from ixc.errors import SettingsError

_WANTED = {"int": "a whole number", "float": "a finite number", "str": "a text", "dict": "a mapping"}
"""What a value of each type is called."""


def read_mapping(path: Path) -> dict[str, object]:
    """A YAML file's settings by name. Raises SettingsError when it is no such file."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(raw, dict):
        raise SettingsError(f"{path} must hold a mapping of settings.")
    return raw


def build(kind: type, raw: object, where: str) -> object:
    """``kind`` from a mapping of its settings, which are checked. Raises SettingsError that begins with ``where``."""
    if not isinstance(raw, dict):
        raise SettingsError(f"{where}: a mapping of settings is missing.")
    known = {each.name: each for each in fields(kind)}
    unknown = sorted(str(name) for name in raw if name not in known)
    missing = sorted(n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING and n not in raw)
    if unknown or missing:
        problem = f"unknown setting {unknown[0]!r}" if unknown else f"setting {missing[0]!r} is missing"
        raise SettingsError(f"{where}: {problem}.")
    values = {name: _typed(value, str(known[name].type), f"{where}: {name}") for name, value in raw.items()}
    try:
        return kind(**values)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None


def _typed(value: object, kind: str, where: str) -> object:
    """A YAML value as the field's type; of a type of the run's own as it is, since ``build`` has made it."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    match kind:
        case "int" if is_number and value == int(value):
            return int(value)
        case "float" if is_number:
            return float(value)
        case "str" if isinstance(value, str):
            return value
        case "dict" if isinstance(value, dict):
            return value
        case _ if kind in _WANTED:
            raise SettingsError(f"{where} must be {_WANTED[kind]}, not {value!r}.")
        case _ if kind.endswith(" | None"):
            return None if value is None else _typed(value, kind.removesuffix(" | None"), where)
        case _ if kind.startswith("tuple"):
            if not isinstance(value, list):
                raise SettingsError(f"{where} must be a list of numbers, not {value!r}.")
            return tuple(_typed(item, kind[6:].split(",")[0], where) for item in value)
    return value


def require(is_fine: bool, message: str) -> None:
    """Raises SettingsError with ``message`` when something is not fine."""
    if not is_fine:
        raise SettingsError(f"{message}.")
