"""Answers and errors in OpenAI's shapes."""

from __future__ import annotations

import json
import logging
import time
import uuid
from dataclasses import dataclass, field

from ixc.application.messages import message_for
from ixc.application.traffic import AppStopping
from ixc.chat.events import AnswerStats, Finished, FinishReason
from ixc.errors import (
    BackendFailed,
    BackendLost,
    CheckpointError,
    ConversationTooLong,
    DeviceFailed,
    EngineBusy,
    GpuUnavailable,
    ImageError,
    IxcError,
    OutOfMemory,
)
from ixc.serving.openai_request import ModelNotFound

logger = logging.getLogger(__name__)

_STATUS = (
    (EngineBusy, 429, "rate_limit_error", "server_busy"),
    (AppStopping, 503, "server_error", "restarting"),
    (OutOfMemory, 503, "server_error", "out_of_memory"),
    (CheckpointError, 503, "server_error", "no_model"),
    (DeviceFailed, 503, "server_error", "device_failed"),
    (GpuUnavailable, 503, "server_error", "no_gpu"),
    (BackendLost, 503, "server_error", "backend_lost"),
    (BackendFailed, 502, "server_error", "backend_failed"),
    (ConversationTooLong, 400, "invalid_request_error", "context_length_exceeded"),
    (ImageError, 400, "invalid_request_error", "invalid_image"),
    (ModelNotFound, 404, "invalid_request_error", "model_not_found"),
    (IxcError, 400, "invalid_request_error", None),
)
DONE = "data: [DONE]\n\n"
WAITING = ": waiting\n\n"
"""A comment, which clients pass over: it tells them and the servers between that somebody is still there."""


def error_body(error: Exception) -> tuple[int, dict[str, object]]:
    """HTTP status and body of an error. One that nobody foresaw is logged and shown without its details."""
    for kind, status, type_, code in _STATUS:
        if isinstance(error, kind):
            return status, _error(str(error), type_, code)
    return 500, _error(message_for(error).sentence("en"), "server_error", None)


def refusal(message: str, code: str) -> dict[str, object]:
    """The body of a request that is refused before it is read."""
    return _error(message, "invalid_request_error", code)


def _error(message: str, type_: str, code: str | None) -> dict[str, object]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def usage_of(stats: AnswerStats) -> dict[str, object]:
    """Token counts; ``image_tokens`` are the visual tokens among the prompt's."""
    return {
        "prompt_tokens": stats.num_prompt_tokens,
        "completion_tokens": stats.num_new_tokens,
        "total_tokens": stats.num_prompt_tokens + stats.num_new_tokens,
        "prompt_tokens_details": {"cached_tokens": stats.num_cached_tokens, "image_tokens": stats.num_visual_tokens},
    }


def timings_of(stats: AnswerStats) -> dict[str, float | None]:
    """Measured, beyond OpenAI's fields."""
    return {
        "time_to_first_token_ms": stats.time_to_first_token_ms,
        "decode_tokens_per_s": stats.decode_tokens_per_s,
        "waited_ms": stats.waited_ms,
    }


@dataclass(frozen=True, slots=True)
class Completion:
    """The identity that all parts of one answer carry."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str, end: Finished) -> dict[str, object]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason(end), "logprobs": None}
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage_of(end.stats),
            "timings": timings_of(end.stats),
        }

    def chunk(self, delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _sse({**self._head("chat.completion.chunk"), "choices": [choice]})

    def last_chunk(self, end: Finished, *, includes_usage: bool) -> str:
        """The chunk with the reason, then, where asked for, the one with the counts."""
        text = self.chunk({}, finish_reason(end))
        if includes_usage:
            counts = {"usage": usage_of(end.stats), "timings": timings_of(end.stats)}
            text += _sse({**self._head("chat.completion.chunk"), "choices": [], **counts})
        return text + DONE

    def _head(self, kind: str) -> dict[str, object]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def finish_reason(end: Finished) -> str:
    return "length" if end.reason is FinishReason.LENGTH else "stop"


def error_chunk(error: Exception) -> str:
    return _sse(error_body(error)[1]) + DONE


def _sse(value: dict[str, object]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
