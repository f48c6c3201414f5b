"""The folder that a run writes into."""

from __future__ import annotations

from pathlib import Path

from ixc.errors import SettingsError


def make_out(folder: Path) -> None:
    """Make the folder and try that it can be written. Raises SettingsError when it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".ixc-probe"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process of the same run may have been faster
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written ({error.strerror}); give another --out.") from None
