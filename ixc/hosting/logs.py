"""Log lines for people or for a collector. What users write and upload is in neither."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from ixc.application.traffic import AnswerEnd
from ixc.hosting.options import LogFormat

logger = logging.getLogger(__name__)

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_QUIET = ("httpx", "httpx2")
"""Gradio asks its own server whether it is up, and the Hub client tells every request."""


def configure_logging(log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send every logger's lines to ``stream`` (the standard error). Called once, by the server."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, the record's own fields, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_own_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: the record's own fields stand behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        own = " ".join(f"{name}={value}" for name, value in _own_fields(record).items() if value is not None)
        return f"{super().formatMessage(record)} {own}".rstrip()


def log_answer(end: AnswerEnd) -> None:
    """One line of numbers for every question."""
    fields: dict[str, object] = {"outcome": end.outcome, "elapsed_ms": round(1000 * end.elapsed_s)}
    if (stats := end.stats) is not None:
        ttft_ms = stats.time_to_first_token_ms
        fields |= {
            "ttft_ms": None if ttft_ms is None else round(ttft_ms),
            "prompt_tokens": stats.num_prompt_tokens,
            "cached_tokens": stats.num_cached_tokens,
            "visual_tokens": stats.num_visual_tokens,
            "new_tokens": stats.num_new_tokens,
        }
    logger.info("answered", extra=fields)


def _own_fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
