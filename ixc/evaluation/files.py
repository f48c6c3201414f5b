"""Writing an evaluation's files, and the one sentence for when that fails."""

from __future__ import annotations

import json
from pathlib import Path

from ixc.errors import EvaluationError
from ixc.out_files import check_file, write_whole


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
    try:
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def check_writable(path: Path) -> None:
    """Find out before hours of work whether ``write_json`` can write ``path``; makes its folder. Raises EvaluationError."""
    try:
        check_file(path)
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
