"""Which files of the project belong to a Space."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ixc.hosting.space.spacefile import SpaceError, Spacefile

_MAX_FILE_MB = 200
"""A Space is no place for weights of billions of parameters; those are preloaded from a model repository."""
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class SpaceFile:
    """``name`` in the Space and where its content is; ``text`` replaces the content, for the README."""

    name: str
    path: Path
    text: str | None = None

    @property
    def num_bytes(self) -> int:
        return self.path.stat().st_size if self.text is None else len(self.text.encode())

    @property
    def content(self) -> Path | bytes:
        """In the form the Hub's client takes."""
        return self.path if self.text is None else self.text.encode()


def list_space_files(project: Path, spacefile: Spacefile, readme: str) -> tuple[SpaceFile, ...]:
    """Sorted by name. Raises SpaceError for a pattern that fits nothing and for what is too large or leads elsewhere."""
    wanted, unwanted = [[_as_regex(p) for p in patterns] for patterns in (spacefile.files, spacefile.not_files)]
    names = _names_below(project, spacefile.files)
    chosen = [name for name in names if _fits(name, wanted) and not _fits(name, unwanted)]
    for pattern, regex in zip(spacefile.files, wanted, strict=True):
        if not any(regex.fullmatch(name) for name in chosen):
            raise SpaceError(f"The Spacefile wants to upload {pattern}, and there is no such file in {project}.")
    files = tuple(SpaceFile(name, project / name, readme if name == "README.md" else None) for name in chosen)
    for file in files:
        if not file.path.resolve().is_relative_to(project.resolve()):
            raise SpaceError(f"{file.name} is a link to a place outside the project; copy the file instead.")
        if file.num_bytes > _MAX_FILE_MB * _MEGABYTE:
            size_mb = file.num_bytes / _MEGABYTE
            raise SpaceError(
                f"{file.name} has {size_mb:.0f} MB and a Space's file may have {_MAX_FILE_MB}; put it into a model repository "
                "and name that under preload."
            )
    return files


def _names_below(project: Path, patterns: Sequence[str]) -> list[str]:
    """Files in the folders that the patterns begin with, so that a virtual environment is never walked through."""
    found = set()
    for pattern in patterns:
        root = project / pattern.partition("*")[0]
        paths = root.rglob("*") if root.is_dir() else [root]
        found |= {path.relative_to(project).as_posix() for path in paths if path.is_file()}
    return sorted(found)


def _fits(name: str, patterns: Sequence[re.Pattern[str]]) -> bool:
    return any(pattern.fullmatch(name) for pattern in patterns)


def _as_regex(pattern: str) -> re.Pattern[str]:
    """``**`` stands for any path, ``*`` for a part of one name."""
    parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))
