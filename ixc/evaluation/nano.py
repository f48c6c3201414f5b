"""``ixc eval nano``: how well the small model reads documents it has never seen, by task, budget and kind of type.

Everything goes the way a user's upload goes: a file's bytes, decoding, plan, tiles, prompt, engine, streamed answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ixc.chat.engine import Engine
from ixc.chat.events import TextDelta
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView, Turn
from ixc.evaluation.held_out import HELD_OUT, KNOWN, Task
from ixc.evaluation.metrics import levenshtein
from ixc.imaging.decode import decode_image
from ixc.settings import ImageLimits
from ixc.training import asking
from ixc.training.fonts import held_out_fonts, training_fonts
from ixc.training.layout import lay_out_sign
from ixc.training.painting import paint_file
from ixc.training.wording import Split

SEED = 20_406
"""First part of every test seed; training seeds begin with the run's own, which is small."""
BUDGETS = (1, 4, 9, 16, 25)
_MOST_MISREAD = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer to one task at one budget."""

    task: Task
    max_patches: int
    answer: str

    @property
    def is_exact(self) -> bool:
        """Right when case and spaces are folded."""
        return fold(self.answer) == fold(self.task.answer)

    @property
    def is_strict(self) -> bool:
        return self.answer == self.task.answer

    @property
    def character_errors(self) -> int:
        return levenshtein(fold(self.answer), fold(self.task.answer))

    @property
    def says_too_small(self) -> bool:
        return any(self.answer == asking.too_small(budget) for budget in asking.BUDGETS)

    @property
    def named_budget_would_do(self) -> bool:
        return any(self.answer == asking.too_small(budget) and self.task.is_legible(budget) for budget in asking.BUDGETS)


def make_signs(num: int, seed: int = SEED) -> list[Task]:
    """``num`` signs, in turn in known and in held-out fonts. Raises SettingsError when fonts are missing."""
    fonts = {KNOWN: training_fonts(), HELD_OUT: held_out_fonts()}
    tasks = []
    for index in range(num):
        rng = np.random.default_rng([seed, index])
        group = (KNOWN, HELD_OUT)[index % 2]
        document = lay_out_sign(rng, fonts[group], Split.TEST)
        question = asking.READ[rng.integers(len(asking.READ))]
        tasks.append(Task(paint_file(document), document.size_px, "sign", question, document.text, group))
    return tasks


def read_file(path: Path, question: str, answer: str, group: str = KNOWN) -> Task:
    """A task about an image file."""
    file = path.read_bytes()
    size_px = decode_image(file, ImageLimits()).size_px
    return Task(file, size_px, "file", question, answer, group)


def tasks_digest(tasks: Iterable[Task]) -> str:
    """Of every task's file, question and answer, in order: what was measured with other documents has another one."""
    digest = hashlib.sha256()
    for task in tasks:
        for part in (task.file, task.question.encode(), task.answer.encode()):
            digest.update(len(part).to_bytes(8, "big"))  # where one ends and the next begins counts too
            digest.update(part)
    return digest.hexdigest()


def answer_task(engine: Engine, task: Task, max_patches: int) -> Reading:
    """Ask the engine, as the app does. What it keeps of an image serves the follow-up that comes next."""
    if task.earlier is None:
        engine.forget("evaluation")
    image = decode_image(task.file, ImageLimits())
    view = ImageView(image.image_id, max_patches)
    request = ChatRequest(
        session_id="evaluation",
        question=task.question,
        view=view,
        turns=(Turn(*task.earlier, view),) if task.earlier else (),
        images={image.image_id: image},
        system=engine.default_system,
        generation=engine.default_generation,
    )
    events = engine.answer(request, StopFlag())
    answer = "".join(event.text for event in events if isinstance(event, TextDelta))
    return Reading(task, max_patches, answer)


def measure(
    answer: Callable[[Task, int], Reading], tasks: Sequence[Task], budgets: Iterable[int], show: Callable[[str], None]
) -> dict[str, dict]:
    """Figures of ``tasks`` at every budget: {"HD-4": {"all": ..., "known": ..., "held-out": ..., "tasks": ...}}."""
    figures = {}
    for max_patches in budgets:
        readings = []
        for number, task in enumerate(tasks, start=1):
            readings.append(answer(task, max_patches))
            show(f"HD-{max_patches}: {number} of {len(tasks)}")
        figures[f"HD-{max_patches}"] = figures_of(readings)
    return figures


def figures_of(readings: Sequence[Reading]) -> dict[str, object]:
    """Shares by group and task, of what is legible, and of refusals; the first misreadings in full."""
    names_of_groups = dict.fromkeys((KNOWN, HELD_OUT, *(each.task.group for each in readings)))
    groups = {group: [each for each in readings if each.task.group == group] for group in names_of_groups}
    names = sorted({each.task.name for each in readings})
    tiny = [each for each in readings if each.task.is_legible(each.max_patches) is False]
    legible = [each for each in readings if each.task.is_legible(each.max_patches)]
    wrong = [each for each in readings if not each.is_exact]
    return {
        "all": summarise(readings),
        **{group: summarise(chosen) for group, chosen in groups.items() if chosen},
        "tasks": {name: summarise([each for each in readings if each.task.name == name]) for name in names},
        "legible": summarise(legible) if legible else None,
        "too_small": {
            "num": len(tiny),
            "said_so": _share(each.says_too_small for each in tiny),
            "named_budget_would_do": _share(each.named_budget_would_do for each in tiny),
        },
        "wrongly_refused": _share(each.says_too_small for each in legible),
        "misread": [[each.task.question, each.task.answer, each.answer] for each in wrong[:_MOST_MISREAD]],
    }


def summarise(readings: Sequence[Reading]) -> dict[str, float]:
    """Shares of exact answers, and character errors per character."""
    num_chars = sum(len(fold(reading.task.answer)) for reading in readings)
    return {
        "num": len(readings),
        "exact": _share(reading.is_exact for reading in readings),
        "exact_strict": _share(reading.is_strict for reading in readings),
        "character_error_rate": round(sum(reading.character_errors for reading in readings) / num_chars, 4),
    }


def ablation_warning(results: Mapping[str, object]) -> str | None:
    """What to say when the ablation in a results file may not be of the weights that its figures by budget are of.

    None when it is, or when one of the two is not there.
    """
    if not results.get("ablation") or not results.get("budgets"):
        return None
    own, others = results.get("ablation_weights"), results.get("weights")
    again = "measure it again with python -m ixc.evaluation.ablation"
    if own is None:
        return f"The ablation does not say which weights it is of, perhaps others than the figures by budget; {again}."
    if others is None:
        return "The figures by budget do not say which weights they are of; measure them again with ixc eval nano."
    if own != others:
        return f"The ablation is of other weights than the figures by budget, or of these at another precision; {again}."
    return None


def _share(values: Iterable[bool]) -> float | None:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else None


def fold(text: str) -> str:
    """Case and white space folded."""
    return " ".join(text.casefold().split())
