"""What every training program does around its work: options, log, the folder that it writes into, errors as sentences."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from pathlib import Path

from torch import distributed

from ixc.errors import IxcError, SettingsError
from ixc.out_files import check_folder


def training_options(module: str, description: str) -> argparse.ArgumentParser:
    """A parser of what every run is told: ``--config`` and ``--out``."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the finished model")
    return parser


def run_training(work: Callable[[], None]) -> int:
    """Do ``work``, together with the other processes where torchrun started several. Returns the program's exit code.

    What a user can mend is logged as a sentence.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if "WORLD_SIZE" in os.environ:  # set by torchrun
        distributed.init_process_group("gloo")
    try:
        work()
    except IxcError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def make_out(folder: Path) -> None:
    """Make the folder and try that it can be written. Raises SettingsError when it cannot."""
    try:
        check_folder(folder)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written ({error.strerror}); give another --out.") from None
