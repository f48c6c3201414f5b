"""Checkpoints that survive being killed at any moment: written aside, named with their digest, the previous one kept."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from pathlib import Path

import torch
from torch import Tensor

from ixc.errors import CheckpointError

logger = logging.getLogger(__name__)


def save_checkpoint(folder: Path, step: int, state: dict, *, keep: int = 2) -> Path:
    """Write ``state`` as the checkpoint of ``step``; the ``keep`` newest stay. Atomic: it is there whole or not at all.

    One process writes into a folder: what a killed one left half written is removed first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("step-*.partial"):
        left.unlink()
    buffer = io.BytesIO()
    torch.save({"step": step, **state}, buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:07d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    aside = folder / f"{path.name}.partial"
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    for old in _newest_first(folder)[keep:]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> dict | None:
    """The newest checkpoint whose content matches its digest; None when there is none. Damaged ones are passed over."""
    for path in _newest_first(folder):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == path.stem.rsplit("-", 1)[1]:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        logger.warning("checkpoint %s is damaged; using the one before it", path.name)
    return None


def load_result(out: Path, stage: str, num_steps: int = 0) -> dict[str, Tensor]:
    """The weights that are a stage's result: their mean over the steps where it keeps one.

    Raises CheckpointError when it was not trained, or not for all of ``num_steps``.
    """
    state = load_checkpoint(out / stage)
    if state is None:
        raise CheckpointError(f"There is no {stage} stage in {out}; train it first with --stage {stage}.")
    if state["step"] < num_steps:
        raise CheckpointError(
            f"The {stage} stage in {out} stands at step {state['step']} of {num_steps}; go on with --stage {stage} first."
        )
    return state.get("mean", state["model"])


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"), reverse=True)
