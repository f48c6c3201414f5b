"""Whether a result can be written, asked before anything is measured."""

from __future__ import annotations

from pathlib import Path

from ixc.errors import SettingsError


def check_out(path: Path) -> None:
    """Make the folder of ``path`` and write nothing into it that stays. Raises SettingsError where it cannot be written."""
    try:
        if path.is_dir():
            raise SettingsError(f"{path} is a folder; give a file as --out.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.open("ab").close()
        else:
            probe = path.with_name(f".{path.name}.probe")
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise SettingsError(f"{path} could not be written: {error.strerror or error}; give another --out.") from error
