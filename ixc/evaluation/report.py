"""A result as a table in plain text, next to what the papers report."""

from __future__ import annotations

from ixc.evaluation.datasets import Dataset
from ixc.evaluation.run import Result, RunSettings


def result_table(dataset: Dataset, settings: RunSettings, result: Result) -> str:
    """Headline, scores in percent, the groups' scores, and what to know before comparing."""
    task = dataset.task
    run = f"this run: {settings.model}, HD-{settings.max_patches}, {_beams(settings.num_beams)}"
    own = "not public" if result.score is None else f"{result.score:.1f} ± {result.standard_error:.1f}"
    rows = [(run, own), *((each.label, f"{each.score:.1f}") for each in task.published)]
    parts = [f"{task.title} {dataset.split}: {task.metric_name}, percent", _aligned(rows)]
    if result.groups:
        parts.append(_aligned([(f"{name} ({g.num_questions:,})", f"{g.score:.1f}") for name, g in result.groups.items()]))
    parts.append("\n".join(_remarks(dataset, result)))
    return "\n\n".join(parts)


def _remarks(dataset: Dataset, result: Result) -> list[str]:
    is_whole = result.num_questions == result.num_in_split
    asked = (
        f"{result.num_questions:,} questions" if is_whole else f"{result.num_questions:,} of {result.num_in_split:,} questions"
    )
    if result.score is None:
        return [f"{asked}. The answers of this split are not public; send submission.json to the benchmark's server."]
    remarks = [f"{asked}; ± is the standard error of the mean."]
    if dataset.task.is_count:
        remarks.append(f"{round(result.score * result.num_questions / 100):,} of {result.num_questions:,} answers are right.")
    if result.unanswered:
        remarks.append(
            f"{len(result.unanswered):,} could not be asked, because their image cannot be opened, and do not count."
        )
    if not is_whole:
        remarks.append("The papers' numbers are for whole sets.")
    return remarks


def _beams(num_beams: int) -> str:
    return "greedy" if num_beams == 1 else f"{num_beams} beams"


def _aligned(rows: list[tuple[str, str]]) -> str:
    """Two columns; the numbers stand with their decimal points below each other."""
    widest = max(len(label) for label, _ in rows)
    before_point = max(text.find(".") for _, text in rows)
    return "\n".join(
        f"  {label:<{widest}}  {' ' * (before_point - text.find('.')) if '.' in text else ''}{text}" for label, text in rows
    )
