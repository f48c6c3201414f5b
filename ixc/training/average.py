"""``python -m ixc.training.average A B:2 --out C``: one model with the mean weights of several on the same path of training.

While the learning rate is high, weights move about a minimum that their mean lies closer to. Source: Izmailov et al.,
"Averaging Weights Leads to Wider Optima and Better Generalization", arXiv 1803.05407; Wortsman et al., "Model soups", arXiv
2203.05482.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ixc.errors import CheckpointError, IxcError, SettingsError
from ixc.out_files import written_aside

WEIGHTS_FILE = "model.safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.training.average", description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", nargs="+", metavar="FOLDER[:SHARE]", help="a finished model, and how much it counts (default: 1)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the mean; its other files are the last model's")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        average_models([_share(text) for text in options.models], options.out)
    except IxcError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def average_models(models: Sequence[tuple[Path, float]], out: Path) -> None:
    """Write the mean of ``models``, folders with their shares, into ``out``.

    Raises CheckpointError when they do not fit, SettingsError when ``out`` is one of them.
    """
    if any(out.resolve() == folder.resolve() for folder, _ in models):
        raise SettingsError(f"{out} is one of the models to be averaged; give another --out.")
    total = sum(share for _, share in models)
    mean: dict[str, Tensor] = {}
    for folder, share in models:
        weights = _weights(folder)
        if mean and _shapes(weights) != _shapes(mean):
            raise CheckpointError(f"{folder} has other tensors than {models[0][0]}; average models of one architecture.")
        for name, weight in weights.items():
            mean[name] = mean.get(name, 0.0) + share / total * weight
    out.mkdir(parents=True, exist_ok=True)
    for file in models[-1][0].iterdir():
        if file.is_file() and file.name != WEIGHTS_FILE:
            shutil.copy2(file, out)
    with written_aside(out / WEIGHTS_FILE) as aside:  # what stands there may be in use
        save_file(mean, aside, metadata={"format": "pt"})


def _weights(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError):
        raise CheckpointError(f"There is no readable {WEIGHTS_FILE} in {folder}; name a finished model's folder.") from None


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _share(text: str) -> tuple[Path, float]:
    """Raises SettingsError."""
    folder, colon, share = text.rpartition(":")
    try:
        found = (Path(folder), float(share)) if colon else (Path(text), 1.0)
    except ValueError:
        found = (Path(text), 1.0)  # the colon belongs to the path
    if not 0 < found[1] < float("inf"):
        raise SettingsError(f"The share of {found[0]} must be more than 0, not {found[1]:g}.")
    return found


if __name__ == "__main__":
    sys.exit(main())
