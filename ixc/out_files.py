"""Files for what took long to make: that they can be written is asked before, and they are there whole or not at all.

Standard library only. Everything here raises OSError; whoever calls says it in a sentence.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_file(path: Path) -> None:
    """Find out whether ``path`` can be written. Its folder is made; nothing else stays, and what is there does."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists():
        path.open("ab").close()
    if not _is_special(path):
        check_folder(path.resolve().parent)


def check_folder(folder: Path) -> None:
    """Make ``folder`` and find out whether files can be written into it; none stays."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".ixc-probe.{os.getpid()}"
    probe.touch()
    probe.unlink()


def write_whole(path: Path, content: str | bytes) -> None:
    """``content``, text in UTF-8, in place of what is there."""
    with written_aside(path) as aside:
        aside.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """The path of the file to write; afterwards it takes the place of ``path``, or goes if that failed.

    It is safe on the disk before: a file of that name is whole even where a machine loses its power. Several processes may do
    it at once. Into a device or a pipe, such as /dev/null, it is written directly, and a link stays one.
    """
    if _is_special(path):
        yield path
        return
    path = path.resolve()
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield aside
        with aside.open("r+b") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()
