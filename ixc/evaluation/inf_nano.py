"""``python -m ixc.evaluation.inf_nano``: the small INF-LLaVA beside ixc-nano on the same unseen signs and documents.

At every input of each, as the papers compare resolutions: the same pictures, the same questions, what differs is how the
model sees them.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ixc.chat.loading import load_engine
from ixc.dual_perspective import plan_dual_perspective
from ixc.errors import IxcError
from ixc.evaluation.files import check_writable, make_folder, write_json
from ixc.evaluation.held_out import KINDS, Task, make_tasks
from ixc.evaluation.kept import KeptFigures
from ixc.evaluation.nano import SEED, Reading, answer_task, figures_of, make_signs, summarise, tasks_digest
from ixc.evaluation.run import weights_fingerprint
from ixc.settings import Settings
from ixc.tiling import SizePx
from ixc.training.asking import TOO_SMALL
from ixc.training.cells import LEGIBLE_PX
from ixc.training.conversations import DOUBTFUL_PX
from ixc.training.inf_lessons import reading_scale

logger = logging.getLogger(__name__)

BUDGETS = {"inf-nano": (1, 9), "ixc-nano": (1, 4)}
"""Of the signs. For INF-LLaVA 1 is the input of 336 pixels and 9 that of 1008."""
SQUARE_PX = SizePx(1008, 1008)
"""Stands for any image: the budget alone decides which square INF-LLaVA gets."""
DOCUMENT_BUDGETS = {"inf-nano": (1, 9), "ixc-nano": (1, 4, 9)}
_NUM_PARTS = sum(map(len, (*BUDGETS.values(), *DOCUMENT_BUDGETS.values())))
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class InfTask(Task):
    """A task whose text must be legible in INF-LLaVA's square."""

    def is_legible(self, max_patches: int) -> bool | None:
        """Whether the text can be read at the input that this budget stands for; None in the doubtful zone."""
        if self.smallest_px is None:
            return True
        input_px = plan_dual_perspective(self.size_px, max_patches).input_px
        size_px = self.smallest_px * reading_scale(self.size_px, input_px)
        return None if DOUBTFUL_PX <= size_px < LEGIBLE_PX else size_px >= LEGIBLE_PX


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.evaluation.inf_nano", description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=100, help="signs, half of them in fonts that training never saw")
    parser.add_argument(
        "--documents", type=int, default=100, help="documents of all kinds, half of them in new fonts and layouts"
    )
    parser.add_argument("--out", type=Path, default=Path("eval-results/inf_nano_eval.json"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.num < 2 or options.documents <= len(KINDS):
        parser.error(
            f"signs must be at least 2 and documents {len(KINDS) + 1}, one of each in type that training never saw: of the "
            f"documents the first {len(KINDS)} are in known type"
        )
    try:
        make_folder(options.out.parent)
        check_writable(options.out)
        signs, tasks = make_signs(options.num), make_tasks(options.documents, SEED)
        drawn = {
            "seed": SEED,
            "num_signs": options.num,
            "num_documents": options.documents,
            "documents_digest": tasks_digest([*signs, *tasks]),
        }
        kept = KeptFigures(options.out, drawn)
        try:
            result = _measure(signs, tasks, kept)
        except KeyboardInterrupt:
            logger.error("%s", kept.when_stopped(_NUM_PARTS))
            return EXIT_INTERRUPTED
        documents = {"num_documents": options.documents, **result.pop("documents")}
        inputs = {f"HD-{n}": f"{plan_dual_perspective(SQUARE_PX, n).input_px} px" for n in DOCUMENT_BUDGETS["inf-nano"]}
        own = {
            "model": "inf-nano",
            "seed": SEED,
            "documents_digest": drawn["documents_digest"],
            "inputs": inputs,
            **result,
            "documents": documents,
        }
        write_json(options.out, own)
        kept.remove()
    except IxcError as error:
        logger.error("%s", error)
        return 1
    except KeyboardInterrupt:
        logger.error("stopped before anything was measured")
        return EXIT_INTERRUPTED
    return 0


def _measure(signs: Sequence[Task], tasks: Sequence[Task], kept: KeptFigures) -> dict[str, dict]:
    """Signs under "budgets" and "ixc-nano", both models' documents under "documents"; what ``kept`` lacks is asked.

    "weights" has the digest of each model's, by name.
    """
    found: dict[str, dict] = {"weights": {}, "documents": {}}
    for name in BUDGETS:
        with closing(load_engine(Settings(model=name))) as engine:
            weights = found["weights"][name] = weights_fingerprint(engine.runner.model)
            own = [as_inf_task(task) if name == "inf-nano" else task for task in tasks]
            ask = partial(answer_task, engine)
            signs_read, documents = {}, {}
            for budgets, figures, what, asked, count in (
                (BUDGETS[name], signs_read, "signs", signs, figures_of),
                (DOCUMENT_BUDGETS[name], documents, "questions about documents", own, document_figures),
            ):
                for budget in budgets:
                    title = f"{name} {weights}, {what} at {budget}"  # better weights of the same name are measured again
                    if title not in kept.measured:
                        kept.add(title, count([ask(task, budget) for task in asked]))
                    figure = figures[f"HD-{budget}"] = kept.measured[title]
                    share, num = 100 * figure["all"]["exact"], figure["all"]["num"]
                    logger.info("%s, HD-%d: %.1f %% of %d %s exact", name, budget, share, num, what)
        found["budgets" if name == "inf-nano" else name] = signs_read
        found["documents"][name] = documents
    return found


def document_figures(readings: Sequence[Reading]) -> dict[str, object]:
    """Exact answers by group and task at one input; where its text is legible to the model; and what it refuses.

    {"all", "known", "held-out", "tasks", "legible", "too_small", "wrongly_refused"}; ``num`` is always a number of questions.
    Both models begin a refusal with the same sentence.
    """
    legible = [each for each in readings if each.task.is_legible(each.max_patches)]
    tiny = [each for each in readings if each.task.is_legible(each.max_patches) is False]
    groups = sorted({each.task.group for each in readings})
    names = sorted({each.task.name for each in readings})
    return {
        "all": summarise(readings),
        **{group: summarise([each for each in readings if each.task.group == group]) for group in groups},
        "tasks": {name: summarise([each for each in readings if each.task.name == name]) for name in names},
        "legible": summarise(legible) if legible else None,
        "too_small": {"num": len(tiny), "said_so": _refused(tiny)},
        "wrongly_refused": _refused(legible),
    }


def as_inf_task(task: Task) -> InfTask:
    """The same task, judged by what INF-LLaVA can see."""
    return InfTask(**{name: getattr(task, name) for name in Task.__dataclass_fields__})


def _refused(readings: Sequence[Reading]) -> float | None:
    """Share of the answers that say that the text is too small."""
    if not readings:
        return None
    return round(sum(each.answer.startswith(TOO_SMALL) for each in readings) / len(readings), 4)


if __name__ == "__main__":
    sys.exit(main())
