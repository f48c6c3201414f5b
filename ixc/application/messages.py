"""The one place where an error becomes what the page shows: a code the page has a sentence for, and the error's own words."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ixc.application.strings import load_strings, translate
from ixc.errors import IxcError

logger = logging.getLogger(__name__)

UNEXPECTED = "Unexpected"


@dataclass(frozen=True, slots=True)
class Message:
    """An error as the page shows it: ``code`` names the sentence, ``detail`` fills its ``{detail}``."""

    code: str
    detail: str = ""

    def page_value(self) -> dict[str, str]:
        return {"code": self.code, "detail": self.detail}

    def sentence(self, language: str) -> str:
        return translate(language, f"error.{self.code}", detail=self.detail)


def message_for(error: Exception) -> Message:
    """The message for ``error``. An error nobody foresaw is logged with its traceback and shown without it."""
    if not isinstance(error, IxcError):
        logger.error("unexpected error", exc_info=error)
        return Message(UNEXPECTED)
    known = load_strings()["en"]
    for cls in type(error).__mro__:
        if f"error.{cls.__name__}" in known:
            return Message(cls.__name__, str(error))
    return Message("IxcError", str(error))
