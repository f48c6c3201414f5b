"""Server-sent events of an OpenAI-compatible server to the engine's own events."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ixc.chat.events import AnswerStats, Event, Finished, FinishReason, PrefillProgress, TextDelta
from ixc.errors import BackendFailed, BackendLost

LOST_IN_MID_ANSWER = "The server that answers was lost in mid-answer; press Retry in a moment."
_PROGRESS = re.compile(r": (\w+) (\d+)/(\d+)")
_LINE_END = re.compile(rb"[\r\n]")
_STAGES = {"line": "line", "loading": "loading", "waiting": "waiting", "vision": "vision", "prefill": "prefill"}


def lines_of(pieces: Iterable[bytes]) -> Iterator[str]:
    """The lines of a stream of events, which end with CR and LF or one of them; some empty ones more than there are.

    What else ``str.splitlines`` takes for a line's end may stand in an answer: U+2028, U+2029, U+0085.
    """
    held = bytearray()
    for piece in pieces:
        held += piece
        if _LINE_END.search(piece):
            *whole, rest = _LINE_END.split(held)
            held = bytearray(rest)
            for line in whole:
                yield line.decode(errors="replace")
    if held:
        yield held.decode(errors="replace")


@dataclass(slots=True)
class StreamReader:
    """Reads one answer. ``stats`` are the server's where it gives them, else measured here."""

    started_s: float = field(default_factory=time.perf_counter)
    _first_s: float | None = None
    _num_deltas: int = 0
    _finish: str | None = None
    _usage: dict = field(default_factory=dict)
    _timings: dict = field(default_factory=dict)

    def events(self, lines: Iterable[str]) -> Iterator[Event]:
        """To Finished. Raises BackendFailed when the server reports an error, BackendLost when its stream ends early."""
        for line in lines:
            if match := _PROGRESS.fullmatch(line):
                if match[1] in _STAGES:
                    yield PrefillProgress(_STAGES[match[1]], int(match[2]), int(match[3]))
            elif line.startswith("data:"):
                data = line[5:].strip()
                if data == "[DONE]":
                    yield self.finished()
                    return
                if text := self._read(data):
                    yield TextDelta(text)
        if self._finish is None:
            raise BackendLost(LOST_IN_MID_ANSWER)
        yield self.finished()

    def finished(self, *, was_stopped: bool = False) -> Finished:
        reasons = {"length": FinishReason.LENGTH, "stop": FinishReason.END_OF_TURN}
        reason = FinishReason.STOPPED if was_stopped else reasons.get(self._finish or "", FinishReason.END_OF_TURN)
        return Finished(reason, self._stats())

    def _read(self, data: str) -> str:
        """Take one chunk; the text in it."""
        try:
            chunk = json.loads(data)
            if error := chunk.get("error"):
                message = error.get("message") if isinstance(error, dict) else str(error)
                raise BackendFailed(_sentence(message))
            self._usage = chunk.get("usage") or self._usage
            self._timings = chunk.get("timings") or self._timings
            choice = next(iter(chunk.get("choices") or ()), {})
            self._finish = choice.get("finish_reason") or self._finish
            text = (choice.get("delta") or {}).get("content") or ""
        except (ValueError, AttributeError, TypeError) as error:
            raise BackendFailed(
                "The server sent something that is no OpenAI stream; check the address of IXC_BACKEND."
            ) from error
        if text:
            self._first_s = self._first_s or time.perf_counter()
            self._num_deltas += 1
        return text

    def _stats(self) -> AnswerStats:
        details = self._usage.get("prompt_tokens_details") or {}
        num_new = _whole(self._usage.get("completion_tokens"), self._num_deltas)
        ttft_ms = (self._first_s - self.started_s) * 1000 if self._first_s else None
        decode_s = time.perf_counter() - self._first_s if self._first_s else 0.0
        speed = (num_new - 1) / decode_s if num_new > 1 and decode_s > 0 else None
        return AnswerStats(
            time_to_first_token_ms=self._timings.get("time_to_first_token_ms", ttft_ms),
            num_prompt_tokens=_whole(self._usage.get("prompt_tokens"), 0),
            num_cached_tokens=details.get("cached_tokens") or 0,
            num_new_tokens=num_new,
            decode_tokens_per_s=self._timings.get("decode_tokens_per_s", speed),
            num_visual_tokens=_visual_tokens(details),
            waited_ms=self._timings.get("waited_ms") or 0.0,
        )


def _whole(told: object, otherwise: int) -> int:
    """Some servers send null for what they did not count."""
    return told if isinstance(told, int) else otherwise


def _visual_tokens(details: dict) -> int:
    """As this project's servers count them, or vLLM."""
    by_modality = details.get("multimodal_tokens")
    return details.get("image_tokens") or (by_modality.get("image") if isinstance(by_modality, dict) else None) or 0


def _sentence(message: object) -> str:
    text = str(message or "").strip() or "no reason given"
    return text if text.endswith((".", "!", "?")) else f"The server could not answer: {text}."
