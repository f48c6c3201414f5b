"""What a benchmark's question is here, and reading it from JSON without trusting it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ixc.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class Sample:
    """One question. No ``answers``: they are not public."""

    id: str
    image: Path
    question: str
    answers: tuple[str, ...] = ()
    group: str = ""


def make_sample(record: object, image: Path, where: str, id_field: str = "id", default_id: str | None = None) -> Sample:
    """A sample from a JSON object with ``question`` and perhaps ``answers`` and ``group``. Raises EvaluationError."""
    sample_id = default_id if default_id is not None else text_field(record, id_field, where)
    group = text_field(record, "group", where) if "group" in record else ""
    return Sample(sample_id, image, text_field(record, "question", where), answers_field(record, where), group)


def text_field(record: object, name: str, where: str) -> str:
    """A string, or a number written out. Raises EvaluationError."""
    value = record.get(name) if isinstance(record, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise EvaluationError(f"The {where} has no usable {name!r}; compare the file with its benchmark's format.")
    return str(value)


def answers_field(record: Mapping[str, object], where: str, name: str = "answers") -> tuple[str, ...]:
    """A list of strings, or one string; nothing where there is none. Raises EvaluationError."""
    value = record.get(name)
    answers = [] if value is None else [value] if isinstance(value, (str, int, float)) else value
    if not isinstance(answers, list) or not all(isinstance(answer, (str, int, float)) for answer in answers):
        raise EvaluationError(f"The {where} has {name!r} that are not texts; compare the file with its benchmark's format.")
    return tuple(map(str, answers))


def parse_json(text: str, where: str) -> object:
    """Raises EvaluationError saying where the JSON breaks."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition(" (char")[0]
        raise EvaluationError(f"The {where} is not valid JSON ({reason}); copy or download the file again.") from error


def read_json(path: Path) -> object:
    """A whole JSON file. Raises EvaluationError."""
    return parse_json(read_text(path), f"file {path}")


def read_text(path: Path) -> str:
    """Raises EvaluationError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise EvaluationError(f"The file {path} is not text; copy or download it again.") from error
    except OSError as error:
        raise EvaluationError(f"The file {path} could not be read ({error.strerror}); check it and try again.") from error
