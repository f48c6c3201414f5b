"""What a long evaluation has measured so far, safe on the disk after every part: the same command goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ixc.evaluation.files import read_json, write_json


class KeptFigures:
    """Figures by the name of their part, in a file beside the result ``out``, until ``remove``.

    ``of`` says what they depend on and names the file: runs of other models, weights or settings never meet in one. Raises
    EvaluationError when the file is damaged or cannot be written.
    """

    def __init__(self, out: Path, of: Mapping[str, object]) -> None:
        digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
        self.path = out.with_name(f"{out.stem}.{digest[:8]}.partial.json")
        self._of = dict(of)
        kept = read_json(self.path)
        self.measured: dict[str, dict] = kept.get("measured", {}) if kept.get("of") == self._of else {}

    def add(self, name: str, figures: dict) -> None:
        self.measured[name] = figures
        write_json(self.path, {"of": self._of, "measured": self.measured})

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def when_stopped(self, num_parts: int) -> str:
        """What to say after Ctrl-C."""
        if not self.measured:
            return "stopped: nothing was measured to its end yet, so nothing is kept"
        kept = f"{len(self.measured)} of {num_parts} parts are kept in {self.path}"
        return f"stopped: {kept}, the same command goes on from there"
