"""Writing an evaluation's files, and the one sentence for when that fails."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from ixc.errors import EvaluationError


def read_json(path: Path) -> dict:
    """A JSON object that was written here; an empty one where there is no such file. Raises EvaluationError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise EvaluationError(f"{path} is not what an evaluation wrote; move it away or name another file.")
    return found


def write_json(path: Path, content: object) -> Path:
    """Whole or not at all. Raises EvaluationError."""
    half = _half(path)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    try:
        try:
            half.write_text(text, encoding="utf-8", errors="backslashreplace")
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def check_writable(path: Path) -> None:
    """Find out before hours of work whether ``write_json`` can write ``path``; changes nothing. Raises EvaluationError."""
    half = _half(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        half.touch()
        half.unlink()
    except OSError as error:
        raise unwritable(path, error) from error


def make_folder(folder: Path) -> None:
    """With those above it, unless it is there. Raises EvaluationError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(path: Path, error: OSError) -> EvaluationError:
    reason = error.strerror or "unknown reason"
    return EvaluationError(f"{path} cannot be written ({reason}); make room or give another --out, and start again.")


def _half(path: Path) -> Path:
    """What is written first, and takes the place of ``path`` when it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}")
