"""``ixc eval nano``: the small model on documents drawn for the purpose, by task and budget."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import replace
from functools import partial

from ixc.cli.options import given
from ixc.cli.status import StatusLine
from ixc.errors import SettingsError
from ixc.settings import Settings

NAME = "nano"
DEFAULT_NUM = 1000
FILE_NAME = "nano_eval.json"


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Draw unseen documents, ask about them at every budget, print and write. Raises IxcError."""
    num = DEFAULT_NUM if args.limit is None else args.limit
    if num < 10:
        raise SettingsError(f"The limit must be at least 10 for this benchmark, one document of each kind, not {num}.")
    with StatusLine(sys.stderr, is_shown=sys.stderr.isatty()) as status:
        status.show("Drawing documents")
        from ixc.chat.loading import load_engine
        from ixc.evaluation.held_out import make_tasks
        from ixc.evaluation.nano import BUDGETS, SEED, answer_task, make_signs, measure, write_figures
        from ixc.evaluation.other_programs import make_printed_tasks

        def figures_of(tasks: list, at: tuple[int, ...]) -> dict[str, dict]:
            return measure(partial(answer_task, engine), tasks, at, status.show)

        signs, documents = make_signs(max(num // 5, 10)), make_tasks(num, SEED)
        printed = make_printed_tasks(max(num // 10, 6), SEED)
        engine = load_engine(replace(settings, **given(model=args.model)), lambda stage, _: status.show(stage))
        budgets = BUDGETS if args.max_patches is None else (args.max_patches,)
        with closing(engine):
            figures = {
                "model": engine.model_name,
                "seed": SEED,
                "default_max_patches": engine.default_max_patches,
                "budgets": figures_of(documents, budgets),
                "signs": figures_of(signs, tuple(each for each in budgets if each <= 4) or budgets),
                "other_programs": figures_of(printed, budgets if len(budgets) == 1 else (16,)) if printed else None,
            }
    out = args.out / FILE_NAME
    write_figures(figures, out)
    for budget, figure in figures["budgets"].items():
        print(f"{budget}: {figure['all']['exact']:.1%} of {figure['all']['num']} answers exact")
    if not printed:
        print("Other programs' documents are left out: chromium, libreoffice-calc and matplotlib are missing.", file=sys.stderr)
    print(f"\nwrote {out}", file=sys.stderr)
