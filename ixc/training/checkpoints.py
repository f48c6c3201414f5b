"""Checkpoints that survive being killed at any moment: written aside, named with their digest, the previous one kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ixc.errors import CheckpointError
from ixc.out_files import write_whole

DAMAGED = ".damaged"
"""Ending of a checkpoint that is out of use: left there to be looked at, and neither loaded nor counted any more."""

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
    write_whole(path, content)
    for old in _newest_first(folder)[keep:]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> dict | None:
    """The newest checkpoint whose content matches its digest; None when there is none. Damaged ones are put out of use.

    Raises CheckpointError when all that there are are damaged: to begin again unasked would throw hours of work away.
    """
    for path in _newest_first(folder):
        with contextlib.suppress(FileNotFoundError):  # another process of this run was faster, or its owner has a newer one
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest()[:16] == path.stem.rsplit("-", 1)[1]:
                return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            logger.warning("checkpoint %s is damaged; using the one before it", path.name)
            path.rename(folder / f"{path.name}{DAMAGED}")
    if any(folder.glob(f"step-*{DAMAGED}")):
        raise CheckpointError(
            f"No checkpoint in {folder} is whole; remove its *{DAMAGED} files to train this stage from its beginning, "
            "or put a good copy there."
        )
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


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state's names, types and numbers, whatever their order and device."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"), reverse=True)
