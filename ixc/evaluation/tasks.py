"""The benchmarks: how the reference asks, how each is scored, and what the papers report.

Prompt, budgets and beams are those of the runner that the published numbers come from (VLMEvalKit's for the 4KHD model, and the
authors' own ChartQA notebook). That runner means to give OCRBench 55 tiles too, but compares "OCRBench" with a lower-cased name
and so ran it at 25; ``max_patches`` overrides. Its source also breaks a line inside the prompt, which puts 26 spaces before the
question; the authors' notebook has none, and neither do we.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ixc.conversation import render_chat
from ixc.errors import SettingsError
from ixc.evaluation.metrics import anls, contains_answer, contains_formula, relaxed_accuracy, vqa_accuracy
from ixc.evaluation.samples import Sample
from ixc.settings import GenerationSettings

INSTRUCTION = "Answer the question using a single word or phrase."
FORMULA_GROUP = "Handwritten Mathematical Expression Recognition"
"""OCRBench's name for it; all its other groups are scored alike."""
OCRBENCH_GROUPS = (
    "Regular Text Recognition",
    "Irregular Text Recognition",
    "Artistic Text Recognition",
    "Handwriting Recognition",
    "Digit String Recognition",
    "Non-Semantic Text Recognition",
    "Scene Text-centric VQA",
    "Doc-oriented VQA",
    "Key Information Extraction",
    FORMULA_GROUP,
)
"""As the benchmark's own script names them."""

REFERENCE_GENERATION = GenerationSettings(max_new_tokens=100, do_sample=False, num_beams=3, repetition_penalty=1.0)


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """A number from a paper, in percent."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Task:
    """One benchmark. ``budgets`` has the reference's budget for every split that is known, the default split first."""

    name: str
    title: str
    metric_name: str
    metric: Callable[[str, Sequence[str]], float]
    budgets: Mapping[str, int]
    published: tuple[PublishedScore, ...]
    is_mean_of_groups: bool = False
    """The score is the mean over the groups' means, not over all questions."""
    groups: tuple[str, ...] = ()
    """Their names: there must be no others, and a set without one of them is not the benchmark."""
    is_count: bool = False
    """The benchmark itself reports the number of right answers; the papers' tables show it as a share."""
    group_metrics: Mapping[str, Callable[[str, Sequence[str]], float]] | None = None
    """Metrics of single groups that are scored differently."""

    @property
    def default_split(self) -> str:
        return next(iter(self.budgets))

    def score(self, prediction: str, sample: Sample) -> float:
        """0 to 1 for one question; 0 where the right answer is not known."""
        metric = (self.group_metrics or {}).get(sample.group, self.metric)
        return metric(prediction, sample.answers) if sample.answers else 0.0


def evaluation_prompt(question: str) -> str:
    """The text after the image. The whole prompt is BOS, image, this text: no system turn, no BOS of its own.

    Source: reference/ixc2_vl/README.md, "Official benchmark prompt".
    """
    return render_chat("", (), INSTRUCTION + question)


def find_task(name: str) -> Task:
    """Raises SettingsError for a benchmark that is not known."""
    try:
        return TASKS[name]
    except KeyError:
        raise SettingsError(f"There is no benchmark {name!r}; choose one of: {', '.join(TASKS)}.") from None


def check_split(task: Task, split: str) -> str:
    """``split`` as it is. Raises SettingsError when the benchmark has no such part."""
    if split not in task.budgets:
        raise SettingsError(f"{task.title} has no split {split!r} here; choose one of: {', '.join(task.budgets)}.")
    return split


def _published(
    four_khd: float, vl: float, val: float | None = None, trained: Sequence[float] = ()
) -> tuple[PublishedScore, ...]:
    """arXiv 2404.06512, tables 3 to 5 (main results), 8 (ablation on the val sets), 6 (budgets trained and run at)."""
    scores = [PublishedScore("4KHD 7B, paper", four_khd)]
    if val is not None:
        scores.append(PublishedScore("4KHD 7B, paper, ablation on val", val))
    scores.append(PublishedScore("VL 7B, paper, one view of 490 px", vl))
    budgets = ((9, 9), (9, 16), (16, 16), (16, 25), (25, 25), (25, 30)) if trained else ()
    for (trained_at, run_at), score in zip(budgets, trained, strict=True):
        scores.append(PublishedScore(f"paper, trained at HD-{trained_at}, run at HD-{run_at}", score))
    return tuple(scores)


_ALL = (
    Task(
        name="docvqa",
        title="DocVQA",
        metric_name="ANLS",
        metric=anls,
        budgets={"val": 55, "test": 65},
        published=_published(90.0, 57.7, 89.0, (79.4, 83.0, 84.9, 85.9, 87.0, 87.4)),
    ),
    Task(
        name="chartqa",
        title="ChartQA",
        metric_name="relaxed accuracy",
        metric=relaxed_accuracy,
        budgets={"test": 25},
        published=_published(81.0, 72.6, None, (78.2, 75.8, 80.1, 79.1, 80.3, 79.4)),
        is_mean_of_groups=True,
        groups=("human", "augmented"),
    ),
    Task(
        name="infovqa",
        title="InfographicVQA",
        metric_name="ANLS",
        metric=anls,
        budgets={"val": 55, "test": 65},
        published=_published(68.6, 34.4, 69.3, (50.5, 58.6, 60.8, 62.1, 63.6, 64.6)),
    ),
    Task(
        name="textvqa",
        title="TextVQA",
        metric_name="VQA accuracy",
        metric=vqa_accuracy,
        budgets={"val": 25},
        published=_published(77.2, 70.1, None, (73.8, 74.3, 75.7, 75.8, 76.0, 76.2)),
    ),
    Task(
        name="ocrbench",
        title="OCRBench",
        metric_name="share of answers found",
        metric=contains_answer,
        budgets={"test": 55},
        published=_published(67.5, 53.2),
        groups=OCRBENCH_GROUPS,
        is_count=True,
        group_metrics={FORMULA_GROUP: contains_formula},
    ),
)
TASKS: Mapping[str, Task] = {task.name: task for task in _ALL}
