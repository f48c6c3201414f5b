"""The models one can choose by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets"


@dataclass(frozen=True, slots=True)
class ModelPreset:
    """A known model: where its checkpoint is, and what to say about it."""

    name: str
    title: str
    folder: Path
    note: str


NANO = ModelPreset(
    name="ixc-nano",
    title="ixc-nano",
    folder=ASSETS / "models" / "ixc-nano",
    note=(
        "A small demonstration model with the architecture of the 7B: it reads one printed line, such as a sign or a label, "
        "and makes mistakes; it does not understand documents, charts or photographs."
    ),
)
PRESETS = {preset.name: preset for preset in (NANO,)}
