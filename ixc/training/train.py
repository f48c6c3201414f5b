"""``python -m ixc.training.train --config ixc/training/configs/nano.yaml --out runs/nano``: train the small model.

Stages: ``language`` (reads codes), ``vision`` (emits codes), ``reading`` (both together, the tower frozen; only where the
configuration has it), ``joint`` (end to end). The first two do not depend on each other: run them side by side with ``--stage``
to use two cores fully. Each resumes where it was killed. ``--stage join`` trains nothing: it writes what these two have learned
as one model, to be measured or averaged with.
``torchrun --nproc-per-node 2 -m ixc.training.train ...`` trains with two processes, on a CPU steadier than two threads.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from torch import distributed

from ixc.errors import IxcError, SettingsError
from ixc.training.checkpoints import load_result
from ixc.training.config import TrainingConfig, load_config
from ixc.training.export import export_checkpoint
from ixc.training.joint_stage import JointStage, ReadingStage, join_parts
from ixc.training.language_stage import LanguageStage
from ixc.training.loop import train_stage
from ixc.training.outputs import make_out
from ixc.training.stages import Kit, process_rank
from ixc.training.vision_stage import VisionStage

STAGES = {"language": LanguageStage, "vision": VisionStage, "reading": ReadingStage, "joint": JointStage}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.training.train", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the finished model")
    parser.add_argument("--stage", choices=[*STAGES, "join", "all"], default="all")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if "WORLD_SIZE" in os.environ:  # set by torchrun
        distributed.init_process_group("gloo")
    try:
        config = load_config(options.config)
        if options.stage in STAGES and not config.trains(options.stage):
            raise SettingsError(f"{options.config.name} has no {options.stage} stage; give it one, or leave --stage out.")
        make_out(options.out)
        if options.stage == "join":
            join(config, options.out)
            return 0
        for name in STAGES if options.stage == "all" else (options.stage,):
            run_stage(config, name, options.out)
    except IxcError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def run_stage(config: TrainingConfig, name: str, out: Path) -> None:
    """Train one stage, unless the configuration has none; after the joint one the finished model stands in ``out/model``.

    After the reading stage there is one in ``out/reading/model``, to be measured or averaged with.

    Raises CheckpointError when a stage before it is missing or not finished.
    """
    if not config.trains(name):
        return
    kit = Kit.make(config, out)
    if name == "joint" and config.reading is not None:
        kit.model.load_state_dict(load_result(out, "reading", config.reading.num_steps))
    elif name in ("reading", "joint"):
        join_parts(kit, out)
    train_stage(STAGES[name](kit), kit, out / name)
    if name in ("reading", "joint") and process_rank() == 0:
        export_checkpoint(kit, out / "model" if name == "joint" else out / name / "model")


def join(config: TrainingConfig, out: Path) -> None:
    """Write what language and vision stages have learned so far into ``out/joined/model``. Raises CheckpointError."""
    kit = Kit.make(config, out)
    join_parts(kit, out, as_they_are=True)
    export_checkpoint(kit, out / "joined" / "model")


if __name__ == "__main__":
    sys.exit(main())
