"""Log lines for people or for a collector. What users write and upload is in neither."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

import uvicorn.config

from ixc.application.raised import where_raised
from ixc.application.traffic import AnswerEnd
from ixc.hosting.options import LogFormat

logger = logging.getLogger(__name__)

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_QUIET = ("httpx", "httpx2")
"""Gradio asks its own server whether it is up, and the Hub client tells every request."""
_ANYBODY_S = ("asyncio", "uvicorn.error", "ixc.hosting.access", "ixc.hosting.upload_room")
"""What a caller does wrong, or too often, is a line of these."""
_AGAIN_AFTER_S = 60.0
_MAX_KINDS = 100


def configure_logging(log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send every logger's lines to ``stream`` (the standard error). Called once, by the server."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It would give its loggers handlers of its own at the start of each server that names no configuration, as Gradio's does.
    uvicorn.config.LOGGING_CONFIG["loggers"] = {"uvicorn": {"handlers": [], "level": "WARNING", "propagate": True}}
    for name in _ANYBODY_S:
        logging.getLogger(name).filters[:] = [OnceAMinute()]


class OnceAMinute(logging.Filter):
    """Lets each kind of line pass once a minute, with how many were held back, and never with the words of what was raised.

    Callers cause these lines: thousands a second where the process runs out of files; and what an error says may be what a
    user wrote. Of a message of many lines the first names its kind, and the others repeat the error.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[int, str], tuple[float, int]] = {}
        """When a line was let pass, and how many were not since."""

    def filter(self, record: logging.LogRecord) -> bool:
        text, now_s = str(record.msg).partition("\n")[0], self._clock()
        kind = record.levelno, text
        passed_s, num_held = self._kinds.get(kind, (-_AGAIN_AFTER_S, 0))
        if now_s - passed_s < _AGAIN_AFTER_S:
            self._kinds[kind] = passed_s, num_held + 1
            return False
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        self._kinds[kind] = now_s, 0
        record.msg = text
        if num_held:
            record.more_since_the_last = num_held
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            record.raised = where_raised(record.exc_info[1])
            record.exc_info = None
        return True


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
