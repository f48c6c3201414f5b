"""Questions with their images and accepted answers, from a folder, a file of our own format, or the Hub.

Our own format is JSON Lines, one question a line, in a file named after benchmark and split, ``docvqa-val.jsonl``:

    {"id": "57349", "image": "images/57349.png", "question": "What is the date?", "answers": ["1/8/93"], "group": "human"}

``image`` is relative to the file. ``answers`` is left out where they are not public. ``group`` is needed where a benchmark's
score has parts: "human" and "augmented" for ChartQA, the ten categories by their official names for OCRBench. The official
layouts are read as they are; see ``ixc.evaluation.official_files``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ixc.errors import EvaluationError
from ixc.evaluation.metrics import NUM_TEXTVQA_ANSWERS
from ixc.evaluation.official_files import read_official
from ixc.evaluation.samples import Sample, make_sample, parse_json, read_text, text_field
from ixc.evaluation.tasks import FORMULA_GROUP, Task

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A benchmark's questions in their own order."""

    task: Task
    split: str
    samples: tuple[Sample, ...]

    @property
    def has_answers(self) -> bool:
        return bool(self.samples[0].answers)

    @property
    def digest(self) -> str:
        """Of ids, image names and questions: a prediction belongs to these, whatever happens to the list of answers."""
        asked = [[sample.id, sample.image.name, sample.question] for sample in self.samples]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def load_dataset(task: Task, split: str, source: str) -> Dataset:
    """From a folder, a ``.jsonl`` file, or a data set's name on the Hub, ``owner/name``.

    Raises EvaluationError when something is missing, damaged, contradictory or of another layout, and names it.
    """
    path = Path(source).expanduser()
    if not path.exists() and _HUB_NAME.fullmatch(source):
        from ixc.evaluation.hub import download_dataset  # the Hub client is not needed for local data

        path = download_dataset(source)
    if not path.exists():
        raise EvaluationError(f"There is no {source}; give a folder, a .jsonl file, or owner/name of a data set on the Hub.")
    if path.is_file() and path.suffix != ".jsonl":
        raise EvaluationError(f"{path} is not a .jsonl file; for a benchmark's own files give the folder they are in.")
    own = path if path.is_file() else path / f"{task.name}-{split}.jsonl"
    samples = read_jsonl(own) if own.is_file() else read_official(task, split, path)
    dataset = Dataset(task, split, tuple(samples))
    _check(dataset, path)
    return dataset


def read_jsonl(path: Path) -> list[Sample]:
    """Our own format. Raises EvaluationError naming the line."""
    samples = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            where = f"line {number} of {path}"
            record = parse_json(line, where)
            image = path.parent / text_field(record, "image", where)
            samples.append(make_sample(record, image, where))
    return samples


def _check(dataset: Dataset, source: Path) -> None:
    """What would otherwise be found after hours: no questions, ids twice, answers or images missing."""
    samples, task = dataset.samples, dataset.task
    if not samples:
        raise EvaluationError(f"There are no questions in {source}; check the file.")
    twice = [sample_id for sample_id, num in Counter(sample.id for sample in samples).items() if num > 1]
    if twice:
        raise EvaluationError(f"Two questions in {source} have the id {twice[0]!r}; give each its own.")
    for sample in samples:
        if bool(sample.answers) != dataset.has_answers:
            raise EvaluationError(f"The question {sample.id!r} in {source} has no answers while others have; add or remove it.")
        if task.name == "textvqa" and sample.answers and len(sample.answers) != NUM_TEXTVQA_ANSWERS:
            raise EvaluationError(
                f"The question {sample.id!r} in {source} has {len(sample.answers)} answers; TextVQA's metric needs "
                f"{NUM_TEXTVQA_ANSWERS}."
            )
        if task.is_mean_of_groups and not sample.group:
            raise EvaluationError(
                f"The question {sample.id!r} in {source} has no group, and {task.title} averages over groups."
            )
        if task.group_metrics and not sample.group:
            raise EvaluationError(
                f"The question {sample.id!r} in {source} has no group, and {task.title} scores {FORMULA_GROUP!r} its own way."
            )
        if task.groups and sample.group not in task.groups:
            raise EvaluationError(
                f"The question {sample.id!r} in {source} has the group {sample.group!r}; {task.title} has "
                f"{_listed(task.groups)}."
            )
    if lacking := [group for group in task.groups if group not in {sample.group for sample in samples}]:
        raise EvaluationError(
            f"There is no question of the group {_listed(lacking)} in {source}, and without it the score would not be that of "
            f"{task.title}; add the rest of the benchmark, and use --limit to ask fewer."
        )
    _check_images(samples)


def _listed(names: Sequence[str]) -> str:
    """a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _check_images(samples: Iterable[Sample]) -> None:
    is_there: dict[Path, bool] = {}
    missing = [sample for sample in samples if not is_there.setdefault(sample.image, sample.image.is_file())]
    if missing:
        others = f", and {len(missing) - 1} more questions lack theirs" if len(missing) > 1 else ""
        raise EvaluationError(
            f"There is no image {missing[0].image} for the question {missing[0].id!r}{others}; add the images."
        )
