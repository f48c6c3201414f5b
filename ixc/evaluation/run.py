"""One evaluation: what exactly is run, its folder, its answers, its result."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ixc import __version__
from ixc.chat.engine import Engine
from ixc.errors import ImageError, SettingsError
from ixc.evaluation.answering import ReferenceAnswerer
from ixc.evaluation.datasets import Dataset
from ixc.evaluation.files import make_folder, write_json
from ixc.evaluation.predictions import PredictionLog
from ixc.evaluation.samples import Sample
from ixc.evaluation.tasks import INSTRUCTION, Task
from ixc.settings import GenerationSettings

_SAMPLED_WEIGHTS = 64
"""At least so many values are looked at in each tensor, and all of one that has fewer."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Everything an answer depends on. Answers made with different settings never meet in one file."""

    task: str
    split: str
    questions: str
    """Digest of ids, image names and questions."""
    model: str
    weights: str
    """Fingerprint of the weights themselves, wherever they were loaded from."""
    precision: str
    max_patches: int
    num_beams: int
    max_new_tokens: int
    instruction: str = INSTRUCTION

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def folder_name(self) -> str:
        model = re.sub(r"[^a-z0-9.]+", "-", self.model.lower()).strip("-.")
        return f"{self.task}-{self.split}-{model}-hd{self.max_patches}-beams{self.num_beams}-{self.digest[:8]}"


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Mean and standard error of one group's questions, in percent."""

    num_questions: int
    score: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Result:
    """Scores in percent; None where the benchmark's answers are not public."""

    num_questions: int
    num_in_split: int
    score: float | None
    standard_error: float | None
    groups: Mapping[str, GroupScore] = field(default_factory=dict)
    unanswered: tuple[str, ...] = ()
    """Ids of questions whose image could not be opened; they are in no score."""


def settings_for(
    dataset: Dataset, engine: Engine, generation: GenerationSettings, max_patches: int | None, precision: str
) -> RunSettings:
    """``max_patches`` None: the reference's. Raises SettingsError when it is given for a model that cuts no tiles."""
    model = engine.runner.model
    is_single_view = engine.processor.image_processor.img_size is not None
    if is_single_view and max_patches is not None:
        raise SettingsError(f"{engine.model_name} looks once and cuts no tiles; leave the max patches out.")
    return RunSettings(
        task=dataset.task.name,
        split=dataset.split,
        questions=dataset.digest,
        model=engine.model_name,
        weights=weights_fingerprint(model),
        precision=precision if precision in ("int8", "int4") else str(model.dtype).removeprefix("torch."),
        max_patches=1 if is_single_view else max_patches or dataset.task.budgets[dataset.split],
        num_beams=generation.num_beams,
        max_new_tokens=generation.max_new_tokens,
    )


def weights_fingerprint(model: torch.nn.Module) -> str:
    """SHA-256 of each tensor's name and shape and of 64 to 127 of its values, evenly spaced: the same wherever the weights are.

    Quick also for a 7B. Training, which moves values everywhere, gives another one; a change between the values that are looked
    at does not, nor one in a tensor that is quantised or offloaded. ``ixc.training.checkpoints.weights_digest`` sees every one.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        is_plain = type(tensor) is torch.Tensor and not tensor.is_meta  # neither quantised nor offloaded
        if is_plain and tensor.numel():
            flat = tensor.detach().reshape(-1)
            digest.update(flat[:: max(1, flat.numel() // _SAMPLED_WEIGHTS)].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def open_log(folder: Path, settings: RunSettings) -> PredictionLog:
    """The predictions in ``folder``, which is made and told its settings when it is new. Raises EvaluationError."""
    make_folder(folder)
    write_json(folder / "settings.json", asdict(settings) | {"digest": settings.digest})
    return PredictionLog(folder / "predictions.jsonl", settings.digest)


def answer_all(
    samples: Sequence[Sample], answerer: ReferenceAnswerer, log: PredictionLog, unanswered: dict[str, ImageError]
) -> Iterator[Sample]:
    """Answer what ``log`` lacks; yields each question once its answer is safe.

    Questions about one image come together, so that it is seen once. One whose image cannot be opened is left out and put into
    ``unanswered`` by its id. Raises what else ``ReferenceAnswerer.answer`` raises.
    """
    places = {image: index for index, image in enumerate(dict.fromkeys(sample.image for sample in samples))}
    for sample in sorted(samples, key=lambda sample: places[sample.image]):
        if sample.id in log.answers:
            continue
        try:
            answer = answerer.answer(sample.image, sample.question)
        except ImageError as error:
            unanswered[sample.id] = error
            continue
        log.add(sample.id, answer)
        yield sample


def summarise(task: Task, samples: Sequence[Sample], answers: Mapping[str, str], num_in_split: int) -> Result:
    """Score ``answers``, which hold one for every sample."""
    if not samples[0].answers:
        return Result(len(samples), num_in_split, None, None)
    by_group: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        by_group[sample.group].append(100 * task.score(answers[sample.id], sample))
    groups = {name: GroupScore(len(scores), *_mean_and_error(scores)) for name, scores in by_group.items()}
    if task.is_mean_of_groups:
        score = sum(group.score for group in groups.values()) / len(groups)
        error = math.sqrt(sum(group.standard_error**2 for group in groups.values())) / len(groups)
    else:
        score, error = _mean_and_error([score for scores in by_group.values() for score in scores])
    named = {name: group for name, group in groups.items() if name}
    return Result(len(samples), num_in_split, score, error, named)


def write_result(folder: Path, dataset: Dataset, settings: RunSettings, result: Result) -> Path:
    """result.json, everything needed to quote the score. Raises EvaluationError."""
    published = [asdict(score) for score in dataset.task.published]
    content = {
        "benchmark": dataset.task.title,
        "metric": dataset.task.metric_name,
        **asdict(result),
        "settings": asdict(settings),
        "published": published,
        "versions": {"ixc": __version__, "torch": torch.__version__},
    }
    return write_json(folder / "result.json", content)


def write_submission(folder: Path, samples: Sequence[Sample], answers: Mapping[str, str]) -> Path:
    """submission.json, as the server of the Robust Reading Competition takes it. Raises EvaluationError."""
    entries = [{"questionId": _as_integer(sample.id), "answer": answers[sample.id]} for sample in samples]
    return write_json(folder / "submission.json", entries)


def _mean_and_error(scores: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error, which is 0 for a single score."""
    mean = sum(scores) / len(scores)
    if len(scores) == 1:
        return mean, 0.0
    variance = sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
    return mean, math.sqrt(variance / len(scores))


def _as_integer(sample_id: str) -> int | str:
    return int(sample_id) if sample_id.isdecimal() else sample_id
