"""``ixc eval``: a benchmark as the papers run it; can be interrupted and goes on where it stopped."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ixc.cli import eval_nano
from ixc.cli.options import check_is_xcomposer2, check_runs_here, given
from ixc.cli.status import StatusLine
from ixc.errors import BudgetOutOfRange, EvaluationError, ImageError, SettingsError
from ixc.settings import GenerationSettings, Settings

if TYPE_CHECKING:
    from ixc.chat.engine import Engine
    from ixc.evaluation.answering import ReferenceAnswerer
    from ixc.evaluation.datasets import Dataset
    from ixc.evaluation.predictions import PredictionLog
    from ixc.evaluation.samples import Sample
    from ixc.evaluation.tasks import Task

DEFAULT_OUT = Path("eval-results")
_LOG_FILE_INTERVAL_S = 30.0
"""Between two states of the progress bar when it does not go to a terminal."""


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "eval",
        help="measure a model on a benchmark",
        description="Measure a model on DocVQA, ChartQA, InfographicVQA, TextVQA or OCRBench, with the reference's prompt, "
        "budget and beams. The same command again goes on where an interrupted one stopped. 'nano' draws documents of its own, "
        "for the small model, and asks about them at budgets 1, 4, 9, 16 and 25; it keeps each budget that it has finished.",
    )
    parser.add_argument("benchmark", metavar="BENCHMARK", help="docvqa, chartqa, infovqa, textvqa, ocrbench or nano")
    parser.add_argument(
        "--data",
        metavar="FOLDER|FILE|NAME",
        help="the benchmark's own folder, a .jsonl file, or owner/name of a data set on the Hub in one of these layouts; "
        "nano needs none",
    )
    parser.add_argument("--split", metavar="NAME", help="part of the benchmark (default: the one whose answers are public)")
    parser.add_argument("--model", metavar="NAME|FOLDER", help="a known model or a checkpoint folder (default: IXC_MODEL)")
    parser.add_argument("--max-patches", metavar="N", type=int, help="most tiles to cut (default: the reference's)")
    parser.add_argument("--beams", metavar="N", type=int, help="beam search; 1 takes the likeliest token (default: 3)")
    parser.add_argument("--limit", metavar="N", type=int, help="ask N questions only, in turn the first ones of each group")
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=DEFAULT_OUT, help="results (default: %(default)s)")
    parser.add_argument(
        "--jobs", metavar="N", type=int, default=1, help="processes that answer at once, for nano only (default: %(default)s)"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="of the documents that nano draws (default: the published one's)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Ask what has not been answered, score, print and write. What can be wrong is found before the model is loaded.

    Raises IxcError.
    """
    from ixc.evaluation.tasks import REFERENCE_GENERATION, TASKS, check_split, find_task
    from ixc.models.presets import find_model

    check_runs_here(settings, "ixc eval")
    if args.max_patches is not None and args.max_patches < 1:
        raise BudgetOutOfRange(f"The max patches must be at least 1, not {args.max_patches}.")
    if args.benchmark == eval_nano.NAME:
        eval_nano.run(args, settings)
        return
    if args.benchmark not in TASKS:
        choices = ", ".join([*TASKS, eval_nano.NAME])
        raise SettingsError(f"There is no benchmark {args.benchmark!r}; choose one of: {choices}.")
    task = find_task(args.benchmark)
    if args.jobs != 1:
        raise SettingsError(f"{task.title} is answered by one process; --jobs is for {eval_nano.NAME}, leave it out.")
    if args.seed is not None:
        raise SettingsError(f"{task.title} draws nothing; --seed is for {eval_nano.NAME}, leave it out.")
    if args.data is None:
        raise SettingsError(f"{task.title} needs its questions; name their folder or file with --data.")
    split = check_split(task, args.split or task.default_split)
    generation = replace(REFERENCE_GENERATION, **given(num_beams=args.beams))
    # The papers' pixels, which answers in one file must have in common.
    settings = replace(settings, resize="exact", **given(model=args.model))
    check_is_xcomposer2(settings.model, find_model(settings.model).layout)
    if args.limit is not None and args.limit < 1:
        raise SettingsError(f"The limit must be at least 1, not {args.limit}.")
    with StatusLine(sys.stderr, is_shown=sys.stderr.isatty()) as status:
        status.show("Reading the questions")
        from ixc.evaluation.datasets import load_dataset

        dataset = load_dataset(task, split, args.data)
        from ixc.chat.loading import load_engine  # slow import, and not needed to refuse bad data

        engine = load_engine(settings, lambda stage, _: status.show(stage))
    with closing(engine):
        check_is_xcomposer2(engine.model_name, engine.layout)  # of one on the Hub it is known only now
        _evaluate(args, dataset, engine, generation, settings.precision)


def _evaluate(
    args: argparse.Namespace, dataset: Dataset, engine: Engine, generation: GenerationSettings, precision: str
) -> None:
    from ixc.evaluation.answering import ReferenceAnswerer
    from ixc.evaluation.report import result_table
    from ixc.evaluation.run import open_log, settings_for, summarise, write_result, write_submission

    run_settings = settings_for(dataset, engine, generation, args.max_patches, precision)
    samples = first_in_turn(dataset.samples, args.limit)
    folder = args.out / run_settings.folder_name
    with open_log(folder, run_settings) as log:
        unanswered = _answer(dataset.task, samples, ReferenceAnswerer(engine, run_settings.max_patches, generation), log)
        num_asked = len(samples)
        samples = [sample for sample in samples if sample.id not in unanswered]
        if not samples:
            raise next(iter(unanswered.values()))
        result = summarise(dataset.task, samples, log.answers, len(dataset.samples))
        result = replace(result, unanswered=tuple(unanswered))
        if result.score is None:
            write_submission(folder, samples, log.answers)
    write_result(folder, dataset, run_settings, result)
    print(result_table(dataset, run_settings, result))
    print(f"\nwrote {folder}", file=sys.stderr)
    if unanswered:
        first = next(iter(unanswered.values()))
        raise EvaluationError(
            f"{len(unanswered)} of {num_asked} questions are not answered; the others are kept, and the same command asks what "
            f"is missing. {first}"
        )


def first_in_turn(samples: Sequence[Sample], limit: int | None) -> Sequence[Sample]:
    """``limit`` questions, one of each group in turn; those of a smaller limit are the first of them. All of them for None.

    A benchmark's file has one group after the other: its first questions alone would be a score of the first group.
    """
    if limit is None:
        return samples
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.group].append(sample)
    rounds = itertools.zip_longest(*groups.values())
    return [sample for each in rounds for sample in each if sample is not None][:limit]


def _answer(task: Task, samples: Sequence[Sample], answerer: ReferenceAnswerer, log: PredictionLog) -> dict[str, ImageError]:
    """Fill ``log``, showing progress and the score so far. Ctrl-C says how to go on and goes up.

    Returns what the images of the unanswered questions lack, by the questions' ids.
    """
    from tqdm import tqdm

    from ixc.evaluation.run import answer_all

    unanswered: dict[str, ImageError] = {}
    done = [sample for sample in samples if sample.id in log.answers]
    total_score = sum(task.score(log.answers[sample.id], sample) for sample in done)
    print(f"{log.path}: {len(done)} of {len(samples)} questions are answered", file=sys.stderr, flush=True)
    interval_s = 0.1 if sys.stderr.isatty() else _LOG_FILE_INTERVAL_S
    try:
        with tqdm(total=len(samples), initial=len(done), desc=task.title, mininterval=interval_s) as bar:
            for num_done, sample in enumerate(answer_all(samples, answerer, log, unanswered), start=len(done) + 1):
                if sample.answers:
                    total_score += task.score(log.answers[sample.id], sample)
                    bar.set_postfix_str(f"{task.metric_name} {100 * total_score / num_done:.1f}", refresh=False)
                bar.update()
    except KeyboardInterrupt:
        num_done = sum(sample.id in log.answers for sample in samples)
        print(f"stopped: {num_done} of {len(samples)} answers are kept, the same command goes on from there", file=sys.stderr)
        raise
    return unanswered
