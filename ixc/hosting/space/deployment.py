"""A deployment as one value: what would be created, set and uploaded. Made and checked without network or token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ixc.hosting.space.files import SpaceFile, list_space_files
from ixc.hosting.space.fitting import memory_need
from ixc.hosting.space.hardware import Hardware, find_hardware
from ixc.hosting.space.requirement_check import read_pins, requirement_problems
from ixc.hosting.space.spacefile import SpaceError, Spacefile, front_matter_text, split_front_matter, synced_readme
from ixc.models.presets import PRESETS, ModelPreset, find_model
from ixc.shipped import ASSETS

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """What the user asked for. ``secrets`` are names; their values come from the environment at the time."""

    to: str
    hardware: str | None = None
    model: str | None = None
    is_private: bool = False
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.to):
            raise SpaceError(f"The Space's name must be USER/NAME, not {self.to!r}.")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. Not ``is_fine``: the Space would not run, and is not deployed."""

    name: str
    detail: str
    is_fine: bool = True


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that will be so on the Hub afterwards."""

    repo_id: str
    is_private: bool
    hardware: Hardware
    model: str
    sdk: str
    sleep_time_s: int | None
    variables: Mapping[str, str]
    secrets: tuple[str, ...]
    unset_secrets: Mapping[str, str]
    """Named in the Spacefile and not asked for, with their purpose."""
    files: tuple[SpaceFile, ...]
    front_matter: str
    checks: tuple[Check, ...] = field(default=())

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.is_fine)


def plan_deployment(project: Path, spacefile: Spacefile, options: DeployOptions) -> Deployment:
    """Collect and check. Raises SpaceError or SettingsError for what cannot even be planned."""
    hardware = find_hardware(options.hardware or spacefile.hardware)
    model = options.model or spacefile.model_for(hardware.name)
    preset = find_model(model)
    model, weights = _on_the_space(project.resolve(), model, preset)
    unknown = set(options.secrets) - set(spacefile.secrets)
    if unknown:
        raise SpaceError(
            f"The Spacefile knows no secret {sorted(unknown)[0]}; it has {', '.join(spacefile.secrets) or 'none'}."
        )
    readme = (project / "README.md").read_text(encoding="utf-8")
    files = list_space_files(project, spacefile, synced_readme(spacefile, readme, hardware.name, model))
    if weights is not None and f"{weights.as_posix()}/config.json" not in {file.name for file in files}:
        raise _not_seen(model)
    return Deployment(
        repo_id=options.to,
        is_private=options.is_private,
        hardware=hardware,
        model=model,
        sdk=spacefile.front_matter["sdk"],
        sleep_time_s=spacefile.sleep_time_s if hardware.is_paid_by_hour else None,
        variables=spacefile.variables_for(hardware.name, model),
        secrets=options.secrets,
        unset_secrets={name: purpose for name, purpose in spacefile.secrets.items() if name not in options.secrets},
        files=files,
        front_matter=front_matter_text(spacefile.front_matter_for(hardware.name, model)),
        checks=tuple(_checks(project, spacefile, hardware, model, preset, files)),
    )


def _on_the_space(project: Path, model: str, preset: ModelPreset) -> tuple[str, Path | None]:
    """What the model is called there, and its folder below the project unless it is on the Hub. Raises SpaceError."""
    if isinstance(preset.source, str):
        return model, None
    if preset in PRESETS.values():  # of this program's own files, which may lie elsewhere than the project's
        return model, Path("assets") / preset.source.relative_to(ASSETS)
    folder = preset.source.resolve()
    if not folder.is_relative_to(project):
        raise _not_seen(model)
    return folder.relative_to(project).as_posix(), folder.relative_to(project)


def _not_seen(model: str) -> SpaceError:
    return SpaceError(f"The model {model} is a folder of this machine, which the Space cannot see; put it on the Hub.")


def _checks(
    project: Path,
    spacefile: Spacefile,
    hardware: Hardware,
    model: str,
    preset: ModelPreset,
    files: tuple[SpaceFile, ...],
) -> Iterator[Check]:
    settings = spacefile.front_matter_for(hardware.name, model)
    readme, _ = split_front_matter((project / "README.md").read_text(encoding="utf-8"))
    is_synced = readme == spacefile.front_matter_for(spacefile.hardware)
    yield Check(
        "front matter", "is the Spacefile's" if is_synced else "differs from the Spacefile; run: ixc space sync", is_synced
    )
    has_app = any(file.name == settings["app_file"] for file in files)
    yield Check("app file", settings["app_file"] if has_app else f"{settings['app_file']} is not among the files", has_app)
    yield _check_requirements(project, settings)
    yield _check_memory(model, preset, hardware)


def _check_requirements(project: Path, settings: Mapping[str, str]) -> Check:
    name, python_version = "requirements", settings["python_version"]
    try:
        pins = read_pins(project / "requirements.txt")
    except (OSError, ValueError) as error:
        return Check(name, str(error), is_fine=False)
    problems = requirement_problems(pins, python_version)
    if settings["sdk_version"] != pins.get("gradio"):
        problems.insert(0, f"sdk_version is {settings['sdk_version']} and requirements.txt pins gradio {pins.get('gradio')}")
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        return Check(name, problems[0] + more, is_fine=False)
    return Check(name, f"{len(pins)} pins fit together on Python {python_version}")


def _check_memory(model: str, preset: ModelPreset, hardware: Hardware) -> Check:
    need = memory_need(preset, hardware)
    if need is None:
        return Check("memory", f"not checked: the size of {model} is not known here")
    needed = f"{model} needs {need.total_gb:.1f} GB at its default budget of {need.max_patches}"
    detail = f"{needed}, {hardware.title} has {hardware.memory_gb:.0f}"
    is_enough = need.total_gb <= hardware.memory_gb
    return Check("memory", detail if is_enough else f"{detail}; choose hardware with more, or a smaller model", is_enough)


def describe(deployment: Deployment, address: str) -> str:
    """What will happen, step by step, for people."""
    d = deployment
    visibility = "private" if d.is_private else "public"
    sleep = (
        "" if d.sleep_time_s is None else (", never sleeps" if d.sleep_time_s == -1 else f", sleeps after {d.sleep_time_s} s")
    )
    lines = ["Checks"]
    lines += [f"  {'ok ' if check.is_fine else 'NO '} {check.name}: {check.detail}" for check in d.checks]
    lines += ["", "Space", f"  {address}", f"  {visibility} if it is new; an existing one stays as it is"]
    lines += [f"  hardware {d.hardware.name} ({d.hardware.title}){sleep}", "", "Variables"]
    lines += [f"  {name}={value}" for name, value in sorted(d.variables.items())]
    lines += ["", "Secrets"]
    lines += [f"  {name}: from your environment" for name in d.secrets]
    lines += [f"  {name}: not set ({purpose})" for name, purpose in d.unset_secrets.items()]
    lines += ["", "README.md begins with", *(f"  {line}" for line in d.front_matter.splitlines())]
    lines += [
        "",
        f"Files: {len(d.files)}, {d.num_bytes / _MEGABYTE:.1f} MB, in one commit; others in an existing Space are deleted",
    ]
    lines += [f"  {file.num_bytes:>10,}  {file.name}" for file in d.files]
    return "\n".join(lines)
