"""``ixc eval nano``: the small model on documents drawn for the purpose, by task and budget."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ixc.cli.options import given
from ixc.cli.status import StatusLine
from ixc.errors import SettingsError
from ixc.evaluation.files import check_writable, make_folder, read_json, write_json
from ixc.evaluation.kept import KeptFigures
from ixc.image_layout import ImageLayout, LayoutKind
from ixc.models.presets import find_model
from ixc.settings import Settings

if TYPE_CHECKING:
    from ixc.chat.engine import Engine
    from ixc.evaluation.held_out import Task

NAME = "nano"
DEFAULT_NUM = 1000
FEWEST = 12
LOWEST_SEED = 1000
"""Training draws its documents from smaller ones."""
FILE_NAME = "nano_eval.json"
_SETTINGS = {
    "model": "model",
    "num_documents": "number of documents",
    "seed": "seed",
    "precision": "precision",
    "resize": "way of resizing",
}
"""Keys of a result that two runs must have in common for the second to take the first one's place, and what they are called."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Tasks that are asked at one budget and measured as a whole; ``key`` is where their figures stand in the result."""

    key: str
    name: str
    tasks: list[Task]
    budget: int

    @property
    def title(self) -> str:
        return f"{self.name} at {self.budget}: {len(self.tasks)}"


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Draw unseen documents, ask about them at every budget, print and write. Raises IxcError."""
    num = _num_documents(args)
    out = args.out / FILE_NAME
    make_folder(args.out)
    check_writable(out)
    read_json(out)  # that it cannot be added to must not be found out at the end
    settings = replace(settings, **given(model=args.model))
    _check_cuts_tiles(settings.model, find_model(settings.model).layout)
    with StatusLine(sys.stderr, is_shown=sys.stderr.isatty()) as status:
        from ixc.chat.loading import load_engine
        from ixc.evaluation.nano import BUDGETS, SEED, ablation_warning, tasks_digest
        from ixc.evaluation.other_programs import missing_programs
        from ixc.evaluation.run import weights_fingerprint

        seed = SEED if args.seed is None else args.seed
        budgets = BUDGETS if args.max_patches is None else (args.max_patches,)
        with closing(load_engine(settings, lambda stage, _: status.show(stage))) as engine:  # whether it loads is said at once
            _check_cuts_tiles(engine.model_name, engine.layout)  # of one on the Hub it is known only now
            result = {
                "model": engine.model_name,
                "weights": weights_fingerprint(engine.runner.model),
                "precision": _precision(settings, engine),
                "resize": settings.resize,
                "seed": seed,
                "num_documents": num,
                "default_max_patches": engine.default_max_patches,
            }
        _check_replaceable(out, result, budgets)
        status.show("Drawing documents")
        parts = _draw(num, seed, budgets)
        documents = [task for tasks in {id(part.tasks): part.tasks for part in parts}.values() for task in tasks]
        # Fonts and other programs draw them, and may have changed.
        result["documents_digest"] = tasks_digest(documents)
    kept = KeptFigures(out, result)
    try:
        with StatusLine(sys.stderr, is_shown=sys.stderr.isatty()) as status:
            figures = _measure(parts, kept, settings, args.jobs, status)
    except KeyboardInterrupt:
        print(kept.when_stopped(len(parts)), file=sys.stderr)
        raise
    result = {**result, **figures}
    for budget, figure in result["budgets"].items():
        print(f"{budget}: {figure['all']['exact']:.1%} of {figure['all']['num']} answers exact")
    if missing := missing_programs():
        print(f"Documents of programs that are missing are left out; install {', '.join(missing.values())}.", file=sys.stderr)
    _check_replaceable(out, result, budgets)  # another run may have ended meanwhile; what this one measured is kept
    results = {**read_json(out), **result}  # what other commands have put there stays, also while this one was answering
    write_json(out, results)
    kept.remove()
    print(f"\nwrote {out}", file=sys.stderr)
    if warning := ablation_warning(results):
        print(warning, file=sys.stderr)


def _draw(num: int, seed: int, budgets: tuple[int, ...]) -> list[_Part]:
    """Everything that is asked. Raises SettingsError when fonts are missing or a program fails."""
    from ixc.evaluation.held_out import make_tasks
    from ixc.evaluation.nano import make_signs
    from ixc.evaluation.other_programs import make_printed_tasks

    signs, documents = make_signs(max(num // 5, 10), seed), make_tasks(num, seed)
    printed = make_printed_tasks(max(num // 10, 6), seed)
    parts = [_Part("budgets", "documents", documents, budget) for budget in budgets]
    parts += [_Part("signs", "signs", signs, budget) for budget in tuple(each for each in budgets if each <= 4) or budgets]
    if printed:
        at = budgets if len(budgets) == 1 else (16,)
        parts += [_Part("other_programs", "other programs", printed, budget) for budget in at]
    return parts


def _measure(
    parts: Iterable[_Part], kept: KeptFigures, settings: Settings, num_jobs: int, status: StatusLine
) -> dict[str, dict | None]:
    """Figures by key and budget; what ``kept`` lacks is asked and added to it."""
    from ixc.evaluation.nano import figures_of
    from ixc.evaluation.workers import Workers

    figures: dict[str, dict | None] = {"budgets": {}, "signs": {}, "other_programs": None}
    with Workers(settings, num_jobs) as workers:
        for part in parts:
            if part.title not in kept.measured:
                readings = []
                for reading in workers.readings(part.tasks, part.budget):
                    readings.append(reading)
                    status.show(f"HD-{part.budget}: {len(readings)} of {len(part.tasks)}")
                kept.add(part.title, figures_of(readings))
            figures[part.key] = {**(figures[part.key] or {}), f"HD-{part.budget}": kept.measured[part.title]}
    return figures


def _check_cuts_tiles(model: str, layout: ImageLayout) -> None:
    """Raises SettingsError for a model whose legible sizes are not those of tiles at a budget."""
    if layout.kind is not LayoutKind.DYNAMIC_PARTITION:
        raise SettingsError(
            f"{model} cuts no tiles, and {NAME} judges what can be read by the tiles of a budget; give a model that cuts them, "
            "such as ixc-nano. For INF-LLaVA there is python -m ixc.evaluation.inf_nano."
        )


def _check_replaceable(out: Path, result: Mapping[str, object], budgets: tuple[int, ...]) -> None:
    """Better weights of the same model may take the place of what ``out`` holds. Raises SettingsError for anything else."""
    found = read_json(out)
    if "model" not in found:  # what another command has written
        return
    other = [what for key, what in _SETTINGS.items() if key in found and found[key] != result[key]]
    if isinstance(found.get("budgets"), dict) and set(found["budgets"]) != {f"HD-{budget}" for budget in budgets}:
        other.append("budgets")
    if other:
        raise SettingsError(
            f"{out} holds figures of {found['model']} that differ in: {', '.join(other)}. They stay as they are; give another "
            "--out, or move the file away."
        )


def _precision(settings: Settings, engine: Engine) -> str:
    """As the weights are, not as it was asked for: "auto" says nothing."""
    from ixc.models.precision import parse_precision

    is_quantised = parse_precision(settings.precision).is_quantised
    return settings.precision if is_quantised else str(engine.runner.model.dtype).removeprefix("torch.")


def _num_documents(args: argparse.Namespace) -> int:
    """Raises SettingsError for options that this benchmark does not have or that are too small."""
    useless = [name for name in ("data", "split", "beams") if getattr(args, name) is not None]
    if useless:
        raise SettingsError(f"{NAME} draws its own documents and asks as the app does; leave --{useless[0]} out.")
    num = DEFAULT_NUM if args.limit is None else args.limit
    if num < FEWEST:
        raise SettingsError(f"The limit must be at least {FEWEST} for this benchmark, one document of each kind, not {num}.")
    if args.jobs < 1:
        raise SettingsError(f"The number of jobs must be at least 1, not {args.jobs}.")
    if args.seed is not None and args.seed < LOWEST_SEED:
        raise SettingsError(f"The seed must be at least {LOWEST_SEED}, for training drew from smaller ones, not {args.seed}.")
    return num
