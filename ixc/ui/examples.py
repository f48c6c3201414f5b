"""The strip of example images, each with a question worth asking."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ixc.application.preview import PREVIEW_TYPE, encode_thumbnail
from ixc.errors import ImageError
from ixc.imaging.decode import decode_image
from ixc.models.presets import PRESETS
from ixc.settings import ImageLimits
from ixc.ui.assets import EXAMPLES_FOLDER

logger = logging.getLogger(__name__)

_ENGLISH_ONLY = frozenset(preset.title for preset in PRESETS.values() if preset.is_english_only)


@dataclass(frozen=True, slots=True)
class Example:
    """One image of ``assets/examples/examples.json``."""

    path: Path
    titles: dict[str, str]
    questions: dict[str, str]
    max_patches: int

    def question(self, language: str, model: str) -> str:
        """In the page's language, or in English if ``model``, called by its title, understands no other."""
        return self.questions["en"] if model in _ENGLISH_ONLY else self.questions.get(language, self.questions["en"])


@cache
def load_examples(folder: Path = EXAMPLES_FOLDER) -> tuple[Example, ...]:
    """The examples whose files are there; none when there is no manifest."""
    manifest = folder / "examples.json"
    if not manifest.is_file():
        logger.warning("no examples: %s is missing", manifest.name)
        return ()
    examples = []
    for entry in json.loads(manifest.read_text(encoding="utf-8")):
        path = folder / entry["file"]
        if path.is_file():
            titles = {"en": entry["title_en"], "zh": entry["title_zh"]}
            questions = {"en": entry["question_en"], "zh": entry["question_zh"]}
            examples.append(Example(path, titles, questions, int(entry["max_patches"])))
    return tuple(examples)


@cache
def example_page_values(folder: Path = EXAMPLES_FOLDER) -> tuple[dict[str, Any], ...]:
    """Titles and small pictures, made once per process."""
    values = []
    for example in load_examples(folder):
        try:
            thumbnail = base64.b64encode(encode_thumbnail(decode_image(example.path, ImageLimits()))).decode()
        except ImageError as error:
            logger.warning("example %s cannot be shown: %s", example.path.name, error)
            thumbnail = ""
        titles = {f"title_{language}": title for language, title in example.titles.items()}
        values.append({**titles, "thumbnail": f"data:{PREVIEW_TYPE};base64,{thumbnail}"})
    return tuple(values)
