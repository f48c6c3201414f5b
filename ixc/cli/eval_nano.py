"""``ixc eval nano``: the small model on documents drawn for the purpose, by task and budget."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import replace

from ixc.cli.options import given
from ixc.cli.status import StatusLine
from ixc.errors import SettingsError
from ixc.evaluation.files import make_folder, read_json, write_json
from ixc.settings import Settings

NAME = "nano"
DEFAULT_NUM = 1000
FEWEST = 12
FILE_NAME = "nano_eval.json"
PARTIAL_NAME = "nano_eval.partial.json"
"""What an interrupted run has measured: whole budgets."""


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Draw unseen documents, ask about them at every budget, print and write. Raises IxcError."""
    num = _num_documents(args)
    out, partial = args.out / FILE_NAME, args.out / PARTIAL_NAME
    make_folder(args.out)
    read_json(out)  # that it cannot be added to must not be found out at the end
    kept = read_json(partial)
    with StatusLine(sys.stderr, is_shown=sys.stderr.isatty()) as status:
        from ixc.chat.loading import load_engine
        from ixc.evaluation.held_out import Task, make_tasks
        from ixc.evaluation.nano import BUDGETS, SEED, ablation_warning, figures_of, make_signs, tasks_digest
        from ixc.evaluation.other_programs import make_printed_tasks, missing_programs
        from ixc.evaluation.run import weights_digest
        from ixc.evaluation.workers import Workers

        settings = replace(settings, **given(model=args.model))
        with closing(load_engine(settings, lambda stage, _: status.show(stage))) as engine:  # whether it loads is said at once
            model_name, default_max_patches = engine.model_name, engine.default_max_patches
            weights = weights_digest(engine.runner.model)
        status.show("Drawing documents")
        signs, documents = make_signs(max(num // 5, 10)), make_tasks(num, SEED)
        printed = make_printed_tasks(max(num // 10, 6), SEED)
        budgets = BUDGETS if args.max_patches is None else (args.max_patches,)
        measured_of = {
            "weights": weights,
            "precision": settings.precision,
            "resize": settings.resize,
            "seed": SEED,
            "num_documents": num,
            "tasks": tasks_digest([*signs, *documents, *printed]),  # fonts and other programs draw them, and may have changed
        }
        measured = kept.get("measured", {}) if kept.get("of") == measured_of else {}
        with Workers(settings, args.jobs) as workers:

            def figures_at(part: str, tasks: list[Task], at: tuple[int, ...]) -> dict[str, dict]:
                figures = {}
                for budget in at:
                    name, readings = f"{part} at {budget}: {len(tasks)}", []
                    if name in measured:
                        figures[f"HD-{budget}"] = measured[name]
                        continue
                    for reading in workers.readings(tasks, budget):
                        readings.append(reading)
                        status.show(f"HD-{budget}: {len(readings)} of {len(tasks)}")
                    figures[f"HD-{budget}"] = measured[name] = figures_of(readings)
                    write_json(partial, {"of": measured_of, "measured": measured})
                return figures

            figures = {
                "model": model_name,
                "weights": weights,
                "seed": SEED,
                "num_documents": num,
                "default_max_patches": default_max_patches,
                "budgets": figures_at("documents", documents, budgets),
                "signs": figures_at("signs", signs, tuple(each for each in budgets if each <= 4) or budgets),
                "other_programs": None,
            }
            if printed:
                figures["other_programs"] = figures_at("other programs", printed, budgets if len(budgets) == 1 else (16,))
    for budget, figure in figures["budgets"].items():
        print(f"{budget}: {figure['all']['exact']:.1%} of {figure['all']['num']} answers exact")
    if missing := missing_programs():
        print(f"Documents of programs that are missing are left out; install {', '.join(missing.values())}.", file=sys.stderr)
    results = {**read_json(out), **figures}  # what other commands have put there stays, also while this one was answering
    write_json(out, results)
    partial.unlink(missing_ok=True)
    print(f"\nwrote {out}", file=sys.stderr)
    if warning := ablation_warning(results):
        print(warning, file=sys.stderr)


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
    return num
