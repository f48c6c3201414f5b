"""Every sentence of the page, in English and Chinese; they live in ``assets/ui/strings.json``, which the page reads too."""

from __future__ import annotations

import json
from functools import cache

from ixc.shipped import ASSETS

_FILE = ASSETS / "ui" / "strings.json"
LANGUAGES = ("en", "zh")
DEFAULT_LANGUAGE = "en"


@cache
def load_strings() -> dict[str, dict[str, str]]:
    """Language -> key -> sentence; ``{name}`` in a sentence stands for a value."""
    return json.loads(_FILE.read_text(encoding="utf-8"))


def translate(language: str, key: str, **values: object) -> str:
    """The sentence ``key`` in ``language`` (English if the language is unknown). Raises KeyError for an unknown key."""
    strings = load_strings()
    sentence = strings.get(language, strings[DEFAULT_LANGUAGE])[key]
    for name, value in values.items():
        sentence = sentence.replace("{" + name + "}", str(value))
    return sentence
