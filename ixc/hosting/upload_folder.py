"""A folder for the uploads of one process, which is gone when it ends; what a killed one left goes when the next starts."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from ixc.errors import SettingsError

try:
    import fcntl
except ImportError:  # Windows: nothing tells there whose process is gone
    fcntl = None

_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "ixc-uploads-"
_UNLOCKED_FOR_S = 60.0
"""Between its making and its lock a folder is another process's all the same."""


class UploadFolder:
    """Below Gradio's own, and named to Gradio in its place. Locked while this process lives."""

    def __init__(self, env: MutableMapping[str, str] = os.environ) -> None:
        """Raises SettingsError when no folder can be made."""
        base = Path(get_upload_folder() if env is os.environ else env[_VARIABLE])
        try:
            base.mkdir(parents=True, exist_ok=True)
            _delete_abandoned(base)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        except OSError as error:
            raise SettingsError(
                f"No uploads can be kept in {base} ({error.strerror}); name another folder with {_VARIABLE}."
            ) from None
        self._lock = _lock(self.path)
        env[_VARIABLE] = str(self.path)

    def delete(self) -> None:
        """With all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _delete_abandoned(base: Path) -> None:
    """Folders of this user whose processes have gone."""
    if fcntl is None:
        return
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            is_own = folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid()
            if not is_own or time.time() - found.st_ctime < _UNLOCKED_FOR_S:
                continue
            if (lock := _lock(folder)) is not None:
                try:
                    shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(lock)


def _lock(folder: Path) -> int | None:
    """The open folder; None where another process has it, or no lock is to be had."""
    if fcntl is None:
        return None
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return None
    return opened
