"""Whether a result can be written, asked before anything is measured."""

from __future__ import annotations

from pathlib import Path

from ixc.errors import SettingsError
from ixc.out_files import check_file


def check_out(path: Path) -> None:
    """Make the folder of ``path`` and write nothing into it that stays. Raises SettingsError where it cannot be written."""
    try:
        check_file(path)
    except IsADirectoryError:
        raise SettingsError(f"{path} is a folder; give a file as --out.") from None
    except OSError as error:
        raise SettingsError(f"{path} could not be written: {error.strerror or error}; give another --out.") from error
