"""``python -m ixc.evaluation.ablation``: what newline tokens and global view are good for, as the paper asks it.

The shipped model is trained on for a few steps with its whole token sequence, without newlines, and without the global view
(and separator), each from the same weights on the same documents; all three then answer the same held-out questions.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from ixc.conversation import TURN_END, ImageView, Turn, build_prompt
from ixc.errors import EvaluationError, IxcError
from ixc.evaluation.files import check_writable, make_folder, read_json, write_json
from ixc.evaluation.held_out import Task, make_tasks
from ixc.evaluation.nano import SEED, Reading, ablation_warning, measure
from ixc.evaluation.run import weights_fingerprint
from ixc.imaging.decode import decode_image
from ixc.imaging.resize import cut_tiles, resize_and_pad
from ixc.settings import ImageLimits
from ixc.tiling import plan_tiles
from ixc.training.ablation import GLOBAL_VIEW, NEWLINE, NOTHING, kept_tokens
from ixc.training.config import TrainingConfig, load_config
from ixc.training.joint_stage import JointStage
from ixc.training.loop import train_stage
from ixc.training.stages import Kit

NAMES = {NOTHING: "full", NEWLINE: "no newline", GLOBAL_VIEW: "no global view"}
"""What the paper's table calls them."""
MAX_NEW_TOKENS = 100
STAGE = "joint"
RECORD_NAME = "ablation.json"
"""Says what the folders beside it hold the checkpoints of."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.evaluation.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="its joint stage says how to train")
    parser.add_argument("--model", type=Path, required=True, help="folder of the weights to begin with")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints of the three")
    parser.add_argument("--steps", type=int, default=300, help="joint steps each (default: %(default)s)")
    parser.add_argument("--documents", type=int, default=100, help="held-out documents (default: %(default)s)")
    parser.add_argument("--max-patches", type=int, nargs="+", default=[4, 9], help="budgets to ask at (default: 4 9)")
    parser.add_argument("--results", type=Path, required=True, help="file of ixc eval nano that the table is put into")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if min(options.steps, options.documents, *options.max_patches) < 1:
        parser.error("steps, documents and budgets must be at least 1")
    try:
        make_folder(options.results.parent)
        check_writable(options.results)
        read_json(options.results)  # that it cannot be added to must not be found out at the end
        make_folder(options.out)
        config = load_config(options.config)
        tasks = make_tasks(options.documents, SEED)
        weights = weights_fingerprint(begin(config, options.model, options.out / NAMES[NOTHING]).model)
        claim_folder(options.out, config, options.steps, weights)
        table = {}
        for without, name in NAMES.items():
            kit = train_without(config, without, options.model, options.out / folder_name(name), options.steps)
            figures = measure(partial(answer_without, kit, without=without), tasks, options.max_patches, _quiet)
            table[name] = {budget: figure["all"] for budget, figure in figures.items()}
            logging.getLogger(__name__).info("%s: %s", name, json.dumps(table[name]))
        ablation = {"ablation": table, "ablation_steps": options.steps, "ablation_weights": weights}
        results = {**read_json(options.results), **ablation}  # what was put there while this one trained stays
        write_json(options.results, results)
        if warning := ablation_warning(results):
            logging.getLogger(__name__).warning("%s", warning)
    except IxcError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def folder_name(name: str) -> str:
    """Where the checkpoints of one of the three lie."""
    return name.replace(" ", "-")


def claim_folder(out: Path, config: TrainingConfig, num_steps: int, weights: str) -> None:
    """Note in ``out`` what is trained there; the checkpoints of anything else are not gone on from.

    They would be taken for this run's: 300 steps for 100, when those have been done. Raises EvaluationError.
    """
    own = {"steps": num_steps, "weights": weights, "config": json.loads(json.dumps(asdict(config), default=str))}
    path = out / RECORD_NAME
    found = read_json(path)
    has_checkpoints = any((out / folder_name(name) / STAGE).exists() for name in NAMES.values())
    if differing := [name for name, value in own.items() if found.get(name) != value and (found or has_checkpoints)]:
        raise EvaluationError(
            f"{out} holds the checkpoints of another ablation, whose {', '.join(differing)} differ or are not known; give "
            "another --out, or remove that folder."
        )
    write_json(path, own)


def begin(config: TrainingConfig, model: Path, out: Path) -> Kit:
    """What each of the three trains on from. Raises IxcError."""
    return Kit.make(replace(config, start_from=str(model), eyes_from=""), out)


def train_without(config: TrainingConfig, without: str, model: Path, out: Path, num_steps: int) -> Kit:
    """Train ``model`` on for ``num_steps`` joint steps that leave a part of the sequence out. Raises IxcError."""
    joint = replace(config.joint, num_steps=num_steps, without=without, num_warmup=min(config.joint.num_warmup, num_steps))
    kit = begin(replace(config, joint=joint), model, out)
    train_stage(JointStage(kit), kit, out / STAGE)
    kit.model.eval()
    return kit


@torch.inference_mode()
def answer_without(kit: Kit, task: Task, max_patches: int, without: str) -> Reading:
    """The likeliest answer when a part of the image's sequence is left out."""
    model, processor = kit.model, kit.processor
    image = decode_image(task.file, ImageLimits())
    plan = plan_tiles(image.size_px, max_patches)
    tiles = torch.from_numpy(cut_tiles(resize_and_pad(image.pixels_HWC, plan), plan)).to(model.device)
    kept = torch.from_numpy(kept_tokens(plan.grid, without)).to(model.device)
    visual_ND = model.vision_proj(model.vision_features(tiles, [plan.grid])[0][kept])
    view = ImageView(image.image_id, max_patches)
    turns = (Turn(*task.earlier, view),) if task.earlier else ()
    before, after = (
        processor.encode_part(part, i) for i, part in enumerate(_parts(processor.default_system, turns, task, view))
    )
    ids = torch.tensor([before + [processor.image_token_id] * len(visual_ND) + after], device=model.device)
    im_mask = ids == processor.image_token_id
    embeds = model.model.tok_embeddings(ids).masked_scatter(im_mask[..., None], visual_ND)
    out = model.generate(
        inputs_embeds=embeds,
        im_mask=im_mask,
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
        eos_token_id=processor.tokenizer.convert_tokens_to_ids(TURN_END),
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    answer = processor.tokenizer.decode(out[0].tolist(), skip_special_tokens=True).removesuffix(TURN_END)
    return Reading(task, max_patches, answer.strip())


def _parts(system: str, turns: Sequence[Turn], task: Task, view: ImageView) -> tuple[str, str]:
    return build_prompt(system, turns, task.question, view).parts


def _quiet(_: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
