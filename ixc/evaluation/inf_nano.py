"""``python -m ixc.evaluation.inf_nano``: the small INF-LLaVA beside ixc-nano on the same unseen signs, at every input of each.

As the papers compare resolutions: the same pictures, the same questions, what differs is how the model sees them.
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

from ixc.chat.loading import load_engine
from ixc.errors import IxcError
from ixc.evaluation.nano import SEED, answer_task, make_signs, measure, write_figures
from ixc.settings import Settings

logger = logging.getLogger(__name__)

BUDGETS = {"inf-nano": (1, 9), "ixc-nano": (1, 4)}
"""For INF-LLaVA 1 is the input of 336 pixels and 9 that of 1008."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.evaluation.inf_nano", description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=100, help="signs, half of them in fonts that training never saw")
    parser.add_argument("--out", type=Path, default=Path("assets/results/inf_nano_eval.json"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        signs = make_signs(options.num)
        figures: dict[str, object] = {"model": "inf-nano", "seed": SEED}
        for name, budgets in BUDGETS.items():
            with closing(load_engine(Settings(model=name))) as engine:
                measured = measure(partial(answer_task, engine), signs, budgets, lambda _: None)
            figures["budgets" if name == "inf-nano" else name] = measured
            for budget, figure in measured.items():
                logger.info("%s, %s: %.1f %% of %d signs exact", name, budget, 100 * figure["all"]["exact"], len(signs))
    except IxcError as error:
        logger.error("%s", error)
        return 1
    write_figures(figures, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
