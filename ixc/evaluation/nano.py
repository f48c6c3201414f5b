"""``python -m ixc.evaluation.nano``: how many unseen signs the small model reads exactly, at each budget.

Every sign is drawn from seeds and texts that training never sees; half of them are set in font families that training never
sees either. Each goes the way a user's upload goes: PNG bytes, decoding, plan, tiles, prompt, engine, streamed answer.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ixc.chat.engine import Engine
from ixc.chat.events import TextDelta
from ixc.chat.loading import load_engine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView
from ixc.errors import IxcError
from ixc.imaging.decode import decode_image
from ixc.settings import ImageLimits, Settings
from ixc.training.fonts import FontFile, held_out_fonts, training_fonts
from ixc.training.layout import lay_out_sign
from ixc.training.painting import paint
from ixc.training.wording import QUESTIONS, Split

SEED = 20_406
"""First part of every test seed; training seeds begin with the run's own, which is small."""
KNOWN, HELD_OUT = "known fonts", "held-out fonts"


@dataclass(frozen=True, slots=True)
class Sign:
    """One test item: the picture as a file, the question, and what the sign says."""

    png: bytes
    question: str
    text: str
    fonts: str


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer to one sign."""

    sign: Sign
    max_patches: int
    answer: str

    @property
    def is_exact(self) -> bool:
        """Right when case and spaces are folded."""
        return fold(self.answer) == fold(self.sign.text)

    @property
    def is_strict(self) -> bool:
        return self.answer == self.sign.text

    @property
    def character_errors(self) -> int:
        return edit_distance(fold(self.answer), fold(self.sign.text))


def make_signs(num: int, seed: int = SEED) -> list[Sign]:
    """``num`` signs, in turn in known and in held-out fonts. Raises SettingsError when fonts are missing."""
    fonts: dict[str, Sequence[FontFile]] = {KNOWN: training_fonts(), HELD_OUT: held_out_fonts()}
    signs = []
    for index in range(num):
        rng = np.random.default_rng([seed, index])
        kind = (KNOWN, HELD_OUT)[index % 2]
        document = lay_out_sign(rng, fonts[kind], Split.TEST)
        file = io.BytesIO()
        Image.fromarray(paint(document)).save(file, "PNG")
        signs.append(Sign(file.getvalue(), QUESTIONS[rng.integers(len(QUESTIONS))], document.text, kind))
    return signs


def read_sign(engine: Engine, sign: Sign, max_patches: int) -> Reading:
    """Ask the engine, as the app does."""
    image = decode_image(sign.png, ImageLimits())
    request = ChatRequest(
        session_id="evaluation",
        question=sign.question,
        view=ImageView(image.image_id, max_patches),
        images={image.image_id: image},
        system=engine.default_system,
        generation=engine.default_generation,
    )
    events = engine.answer(request, StopFlag())
    answer = "".join(event.text for event in events if isinstance(event, TextDelta))
    engine.forget("evaluation")
    return Reading(sign, max_patches, answer)


def summarise(readings: Sequence[Reading]) -> dict[str, float]:
    """Shares of exact answers, and character errors per character."""
    num_chars = sum(len(fold(reading.sign.text)) for reading in readings)
    return {
        "num": len(readings),
        "exact": round(sum(reading.is_exact for reading in readings) / len(readings), 4),
        "exact_strict": round(sum(reading.is_strict for reading in readings) / len(readings), 4),
        "character_error_rate": round(sum(reading.character_errors for reading in readings) / num_chars, 4),
    }


def fold(text: str) -> str:
    """Case and white space folded."""
    return " ".join(text.casefold().split())


def edit_distance(first: str, second: str) -> int:
    """Insertions, deletions and replacements that turn one string into the other."""
    row = list(range(len(second) + 1))
    for index, char in enumerate(first, start=1):
        above_left, row[0] = row[0], index
        for place, other in enumerate(second, start=1):
            above_left, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, above_left + (char != other))
    return row[-1]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.evaluation.nano", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ixc-nano", help="preset or checkpoint folder")
    parser.add_argument("--num", type=int, default=300, help="signs")
    parser.add_argument("--max-patches", type=int, nargs="+", default=[1, 4, 9, 16])
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args(arguments)
    try:
        signs = make_signs(options.num)
        engine = load_engine(Settings(model=options.model))
    except IxcError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        figures = {"model": engine.model_name, "seed": SEED, "default_max_patches": engine.default_max_patches, "budgets": {}}
        for max_patches in options.max_patches:
            progress = tqdm(signs, desc=f"HD-{max_patches}", mininterval=5)
            readings = [read_sign(engine, sign, max_patches) for sign in progress]
            groups = {kind: [each for each in readings if each.sign.fonts == kind] for kind in (KNOWN, HELD_OUT)}
            figures["budgets"][f"HD-{max_patches}"] = {
                "all": summarise(readings),
                **{kind: summarise(group) for kind, group in groups.items() if group},
                "misread": [[each.sign.text, each.answer] for each in readings if not each.is_exact][:20],
            }
    finally:
        engine.close()
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
