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
from ixc.application.strings import LANGUAGES
from ixc.errors import ImageError
from ixc.imaging.decode import decode_image
from ixc.models.presets import PRESETS
from ixc.settings import ImageLimits
from ixc.shipped import ASSETS
from ixc.ui.plan_view import page_key

logger = logging.getLogger(__name__)

EXAMPLES_FOLDER = ASSETS / "examples"
_SMALL = frozenset(preset.title for preset in PRESETS.values() if preset.is_small)


@dataclass(frozen=True, slots=True)
class Example:
    """One image of ``assets/examples/examples.json``."""

    path: Path
    titles: dict[str, str]
    questions: dict[str, str]
    alts: dict[str, str]
    """What is to be seen, for who does not see it."""
    max_patches: int
    for_small: bool
    """Whether a small model that comes along reads it. Of the others it shows how they are cut."""

    def question(self, language: str, model: str) -> str:
        """In the page's language, or in English if ``model``, called by its title, understands no other."""
        return self.questions["en"] if is_small(model) else self.questions.get(language, self.questions["en"])


def is_small(model: str) -> bool:
    """Of a model by its title: whether it is one of the small ones, for which not every example is made."""
    return model in _SMALL


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
            texts = ({language: entry[f"{kind}_{language}"] for language in LANGUAGES} for kind in ("title", "question", "alt"))
            examples.append(Example(path, *texts, int(entry["max_patches"]), entry["for_small"]))
    return tuple(examples)


@cache
def example_page_values(folder: Path = EXAMPLES_FOLDER) -> tuple[dict[str, Any], ...]:
    """Titles, descriptions and small pictures, made once per process; and what the page calls each image once it is open."""
    values = []
    for example in load_examples(folder):
        try:
            image = decode_image(example.path, ImageLimits())
            key, thumbnail = page_key(image.image_id), base64.b64encode(encode_thumbnail(image)).decode()
        except ImageError as error:
            logger.warning("example %s cannot be shown: %s", example.path.name, error)
            key, thumbnail = "", ""
        texts = {f"title_{language}": example.titles[language] for language in LANGUAGES}
        texts |= {f"alt_{language}": example.alts[language] for language in LANGUAGES}
        shown = {"imageId": key, "thumbnail": f"data:{PREVIEW_TYPE};base64,{thumbnail}", "forSmall": example.for_small}
        values.append({**texts, **shown})
    return tuple(values)


def example_of_page_key(key: str) -> Example | None:
    """The example whose image the page calls so."""
    named = zip(load_examples(), example_page_values(), strict=True)
    return next((example for example, values in named if key and values["imageId"] == key), None)
