"""Do the pinned requirements install together on another Python? Told from installed packages' own metadata, offline.

pip would ask the index the same questions. What is installed here is what was tested, so its metadata is what counts; a pin
that is not installed in that version cannot be vouched for, and is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

BUILDER_EXTRAS = {"gradio": ("oauth", "mcp")}
"""What a Space's builder asks for besides: ``pip install -r requirements.txt gradio[oauth,mcp]==<sdk_version> ...``."""


def read_pins(path: Path) -> dict[str, str]:
    """Package -> version of a requirements file of ``name==version`` lines. Raises ValueError for any other line."""
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.split("#")[0].strip()
        if not text or text.startswith("-"):
            continue
        name, equals, version = text.partition("==")
        if not equals:
            raise ValueError(f"{path.name} leaves the version of {text} open; pin it")
        pins[canonicalize_name(name)] = version.strip()
    return pins


def requirement_problems(pins: Mapping[str, str], python_version: str) -> list[str]:
    """What keeps a Space's builder (Linux) from installing ``pins`` together on ``python_version``. Empty: nothing does."""
    environment = _environment(python_version)
    return [*_problems(pins, environment), *_builder_problems(pins, environment)]


def _problems(pins: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    python = Version(environment["python_full_version"])
    waiting = [(name, "requirements.txt") for name in pins]
    seen = set()
    while waiting:
        name, asked_by = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            yield f"{name}, which {asked_by} needs, is not installed here and so was never tested"
            continue
        version = pins.get(name, found.version)
        if Version(found.version).public != Version(version).public:
            yield f"{name} is pinned to {version} and was tested with {found.version}"
        if (requires := found.metadata.get("Requires-Python")) and not SpecifierSet(requires).contains(python):
            yield f"{name} {version} needs Python {requires}"
        for requirement in _requirements(found, environment):
            needed = canonicalize_name(requirement.name)
            if needed in pins and not requirement.specifier.contains(pins[needed], prereleases=True):
                yield f"{name} {version} needs {requirement.name}{requirement.specifier}, and {pins[needed]} is pinned"
            waiting.append((needed, name))


def _builder_problems(pins: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    """Pins that the extras do not allow. What the extras bring besides is the Hub's business and need not be installed here."""
    for name, extras in BUILDER_EXTRAS.items():
        if name not in pins:
            continue
        found = metadata.distribution(name)
        for extra in extras:
            for requirement in _requirements(found, environment, extra):
                needed = canonicalize_name(requirement.name)
                if needed in pins and not requirement.specifier.contains(pins[needed], prereleases=True):
                    wants = f"{requirement.name}{requirement.specifier}"
                    yield f"a Space is built with {name}[{extra}], which needs {wants}, and {pins[needed]} is pinned"


def _requirements(found: metadata.Distribution, environment: Mapping[str, str], extra: str = "") -> Iterator[Requirement]:
    """What the package needs; with ``extra`` what that needs only."""
    for text in found.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        is_needed = requirement.marker is None or requirement.marker.evaluate({**environment, "extra": ""})
        is_extra = not is_needed and requirement.marker.evaluate({**environment, "extra": extra})
        if is_extra if extra else is_needed:
            yield requirement


def _environment(python_version: str) -> dict[str, str]:
    """Markers of a Space: Linux on x86-64."""
    full = python_version if python_version.count(".") == 2 else f"{python_version}.0"
    short = ".".join(full.split(".")[:2])
    linux = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"}
    return {**default_environment(), **linux, "python_version": short, "python_full_version": full}
