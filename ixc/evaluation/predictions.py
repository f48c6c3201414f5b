"""Predictions on disk: appended one by one, each safe before the next question is asked.

One JSON object a line: {"settings": digest, "id": ..., "answer": ..., "new_tokens": ..., "elapsed_ms": ...}.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import TracebackType

from ixc.errors import EvaluationError
from ixc.evaluation.answering import Answer
from ixc.evaluation.files import unwritable


class PredictionLog:
    """Answers by question id, in memory and in a file that a kill at any moment leaves usable.

    A last line that was cut short is dropped. Raises EvaluationError when any other line is damaged, or was made with other
    settings.
    """

    def __init__(self, path: Path, settings_digest: str) -> None:
        self.path = path
        self._settings_digest = settings_digest
        self.answers: dict[str, str] = {}
        try:
            # No buffer in between: one write a line, so that not even Ctrl-C can come between its parts.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                self._read()
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise unwritable(path, error) from error

    def add(self, sample_id: str, answer: Answer) -> None:
        """Append and wait until it is on the disk. Raises EvaluationError."""
        record = {
            "settings": self._settings_digest,
            "id": sample_id,
            "answer": answer.text,
            "new_tokens": answer.num_new_tokens,
            "elapsed_ms": round(answer.elapsed_ms, 1),
        }
        line = f"{json.dumps(record, ensure_ascii=False)}\n".encode(errors="backslashreplace")
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.answers[sample_id] = answer.text

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> PredictionLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole, _, _ = content.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        num_good_bytes = len(whole) + 1 if whole else 0
        for number, line in enumerate(lines, start=1):
            sample_id, answer = self._parse(line, number)
            self.answers[sample_id] = answer
        if num_good_bytes < len(content):
            os.truncate(self.path, num_good_bytes)

    def _parse(self, line: bytes, number: int) -> tuple[str, str]:
        try:
            record = json.loads(line)
            digest, sample_id, answer = record["settings"], record["id"], record["answer"]
        except (ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"Line {number} of {self.path} is damaged; delete that line and start again.") from error
        if digest != self._settings_digest:
            raise EvaluationError(f"{self.path} holds answers made with other settings; move it away or give another --out.")
        return str(sample_id), str(answer)
