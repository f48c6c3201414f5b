"""``python -m ixc.training.train --config ixc/training/configs/nano.yaml --out runs/nano``: train the small model.

Stages: ``language`` (reads codes), ``vision`` (emits codes), ``reading`` (both together, the tower frozen; only where the
configuration has it), ``joint`` (end to end). The first two do not depend on each other: run them side by side with ``--stage``
to use two cores fully. Each resumes where it was killed. Two train nothing, they write a model to be measured or averaged with:
``--stage start`` what training begins with, ``--stage join`` what language and vision have learned.
``torchrun --nproc-per-node 2 -m ixc.training.train ...`` trains with two processes, on a CPU steadier than two threads.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ixc.errors import SettingsError
from ixc.training.checkpoints import load_result, weights_digest
from ixc.training.config import TrainingConfig, load_config
from ixc.training.export import export_checkpoint
from ixc.training.joint_stage import JointStage, ReadingStage, join_parts
from ixc.training.language_stage import LanguageStage
from ixc.training.loop import train_stage
from ixc.training.program import make_out, run_training, training_options
from ixc.training.stages import Kit, process_rank
from ixc.training.vision_stage import VisionStage

STAGES = {"language": LanguageStage, "vision": VisionStage, "reading": ReadingStage, "joint": JointStage}


def main(arguments: list[str] | None = None) -> int:
    parser = training_options("ixc.training.train", __doc__.splitlines()[0])
    parser.add_argument("--stage", choices=["start", *STAGES, "join", "all"], default="all")
    options = parser.parse_args(arguments)
    return run_training(lambda: run_stages(options.config, options.stage, options.out))


def run_stages(config_file: Path, stage: str, out: Path) -> None:
    """Run one stage, all of them ("all"), or write what they start with or two have learned. Raises IxcError."""
    config = load_config(config_file)
    if stage in STAGES and not config.trains(stage):
        raise SettingsError(f"{config_file.name} has no {stage} stage; give it one, or leave --stage out.")
    make_out(out)
    if stage == "start":
        export_checkpoint(Kit.make(config, out), out / "start" / "model")
        return
    if stage == "join":
        join(config, out)
        return
    for name in STAGES if stage == "all" else (stage,):
        run_stage(config, name, out)


def run_stage(config: TrainingConfig, name: str, out: Path) -> None:
    """Train one stage, unless the configuration has none; after the joint one the finished model stands in ``out/model``.

    After the reading stage there is one in ``out/reading/model``, to be measured or averaged with.

    Raises CheckpointError when a stage before it is missing, not finished, or has been trained on since this one began.
    """
    if not config.trains(name):
        return
    kit = Kit.make(config, out)
    train_stage(STAGES[name](kit), kit, out / name, begun_with=_begin(kit, name, out))
    if name in ("reading", "joint") and process_rank() == 0:
        export_checkpoint(kit, out / "model" if name == "joint" else out / name / "model")


def _begin(kit: Kit, name: str, out: Path) -> Mapping[str, str]:
    """Give the model what the stages before this one have learned. Returns the digests of their results."""
    if name == "joint" and kit.config.reading is not None:
        weights = load_result(out, "reading", kit.config.reading.num_steps)
        kit.model.load_state_dict(weights)
        return {"reading": weights_digest(weights)}
    return join_parts(kit, out) if name in ("reading", "joint") else {}


def join(config: TrainingConfig, out: Path) -> None:
    """Write what language and vision stages have learned so far into ``out/joined/model``. Raises CheckpointError."""
    kit = Kit.make(config, out)
    join_parts(kit, out, as_they_are=True)
    export_checkpoint(kit, out / "joined" / "model")


if __name__ == "__main__":
    sys.exit(main())
