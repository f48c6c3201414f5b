"""``python -m ixc.training.inf_llava --config ixc/training/configs/inf_nano.yaml --out runs/inf_nano``: a small INF-LLaVA.

The same classes as the released model, taught signs by the renderer that teaches ixc-nano. As in the paper CLIP stays frozen:
tower and language model begin as ixc-nano's, and enhancement, projector and language model train. Resumes where it was killed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, GenerationConfig

from ixc.conversation import LLAMA3_CHAT, ImageView
from ixc.dual_perspective import NUM_VISUAL_TOKENS, SQUARE_PX, TOKENS_PER_SIDE, DualPerspectivePlan
from ixc.errors import IxcError
from ixc.models.inf_llava import InfLlavaForCausalLM, InfLlavaImageProcessor, InfLlavaProcessor
from ixc.training.asking import READ
from ixc.training.attention import VISION_NAME, attend_one_by_one
from ixc.training.cells import CELL_PX, EMPTY, IGNORED, NUM_CLASSES, Glyphs, cell_targets
from ixc.training.config import StageConfig, _build
from ixc.training.fonts import FontFile, training_fonts
from ixc.training.inf_initial import byte_tokenizer, initial_inf_model
from ixc.training.layout import lay_out_sign
from ixc.training.loop import train_stage
from ixc.training.painting import paint
from ixc.training.stages import Batch, bfloat16, generator_for
from ixc.training.wording import Split

NO_LABEL = -100
MAX_NEW_TOKENS = 64
_ANY_VIEW = ImageView("sign", 9)


@dataclass(frozen=True, slots=True)
class InfStageConfig(StageConfig):
    """``small_share`` of the images are loaded at 336 pixels, as the released inference code does, the others at 1008."""

    batch_size: int = 8
    small_share: float = 0.3
    auxiliary_weight: float = 0.3


@dataclass(frozen=True, slots=True)
class InfTrainingConfig:
    """A run. ``start_from`` is the folder of an ixc-nano; ``model`` holds the fields of ``InfLlavaConfig``."""

    seed: int
    num_slots: int
    start_from: str
    model: dict
    signs: InfStageConfig
    checkpoint_every_s: float = 120.0
    log_every_steps: int = 20


@dataclass(frozen=True, slots=True)
class InfKit:
    """The model under training, its processor, and the settings the training loop reads."""

    config: InfTrainingConfig
    model: InfLlavaForCausalLM
    processor: InfLlavaProcessor

    @classmethod
    def make(cls, config: InfTrainingConfig) -> InfKit:
        processor = InfLlavaProcessor(InfLlavaImageProcessor(), byte_tokenizer(), default_system="")
        model = initial_inf_model(config.model, processor.tokenizer, Path(config.start_from), config.seed)
        return cls(config, model, processor)


class SignStage:
    """Signs at both input sizes; the loss is the answer's, plus a share of "which characters stand in this token's cell"."""

    name = "signs"

    def __init__(self, kit: InfKit, fonts: Sequence[FontFile] | None = None) -> None:
        self._kit = kit
        self.config = kit.config.signs
        self._fonts = fonts or training_fonts()
        self.extra = nn.Linear(kit.model.config.hidden_size, kit.config.num_slots * NUM_CLASSES)
        """The auxiliary task's head; it is not part of the model."""
        if kit.model.device.type == "cpu":
            AttentionInterface.register(VISION_NAME, attend_one_by_one)
            kit.model.model.vision_tower.clip.set_attn_implementation(VISION_NAME)

    def learning_rate_scale(self, name: str) -> float:
        return 0.0 if "vision_tower" in name else 1.0

    def make_batch(self, step: int) -> Batch:
        rng = generator_for(self._kit.config.seed, self.name, step)
        input_px = 336 if rng.random() < self.config.small_share else SQUARE_PX
        squares, targets, rows = [], [], []
        for _ in range(self.config.batch_size):
            document = lay_out_sign(rng, self._fonts, Split.TRAINING)
            plan = DualPerspectivePlan(document.size_px, input_px)
            squares.append(self._kit.processor.image_processor.cut(paint(document), plan))
            targets.append(token_targets(document.glyphs(), plan, self._kit.config.num_slots))
            rows.append(self._ids(str(rng.choice(READ)), document.text))
        length = max(len(ids) for ids, _ in rows)
        pad = self._kit.processor.tokenizer.eos_token_id
        return {
            "squares": torch.from_numpy(np.concatenate(squares)),
            "targets": torch.from_numpy(np.stack(targets)),
            "input_ids": torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in rows]),
            "labels": torch.tensor([labels + [NO_LABEL] * (length - len(labels)) for _, labels in rows]),
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        model, labels_BS = self._kit.model, batch["labels"]
        with bfloat16(model):
            with torch.no_grad():  # the tower is frozen
                seen = [model.encode_views(model.make_views(square[None])) for square in batch["squares"]]
            visual_BTD = model.vision_proj(torch.stack([model.lay_out(features) for features in seen]))
            auxiliary, metrics = self._read_cells(visual_BTD, batch["targets"])
            embeds_BSD = model.embed(batch["input_ids"], visual_BTD)
            hidden_BSD = model.model(inputs_embeds=embeds_BSD).last_hidden_state
            is_answer = labels_BS[:, 1:] != NO_LABEL
            logits_MV = model.lm_head(hidden_BSD[:, :-1][is_answer]).float()
        wanted_M = labels_BS[:, 1:][is_answer]
        right_M = logits_MV.argmax(-1) == wanted_M
        answer_of_M = torch.arange(len(labels_BS), device=labels_BS.device)[:, None].expand_as(is_answer)[is_answer]
        wrong_B = torch.zeros(len(labels_BS), device=labels_BS.device).index_add_(0, answer_of_M, (~right_M).float())
        metrics |= {"tokens_right": right_M.float().mean().item(), "answers_right": (wrong_B == 0).float().mean().item()}
        return F.cross_entropy(logits_MV, wanted_M) + self.config.auxiliary_weight * auxiliary, metrics

    def _read_cells(self, visual_BTD: Tensor, targets_BTK: Tensor) -> tuple[Tensor, dict[str, float]]:
        cells = self.extra(visual_BTD).float()  # noqa: S610 - not Django's
        logits = cells.unflatten(-1, (-1, NUM_CLASSES)).flatten(0, 2)
        targets = targets_BTK.flatten()
        each = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
        is_written = targets > EMPTY
        is_blank = targets == EMPTY
        loss = _mean(each, is_written) + 0.5 * _mean(each, is_blank)
        return loss, {"characters_right": _mean((logits.argmax(-1) == targets).float(), is_written).item()}

    def _ids(self, question: str, answer: str) -> tuple[list[int], list[int]]:
        """Ids and labels; loss falls on the answer and its end only."""
        processor = self._kit.processor
        parts = LLAMA3_CHAT.build_prompt("", (), question, _ANY_VIEW).parts
        prompt = processor.encode_parts(parts, 1)
        own = processor.encode_part(answer + LLAMA3_CHAT.turn_end, 1)
        return prompt + own, [NO_LABEL] * len(prompt) + own


def token_targets(glyphs: Glyphs, plan: DualPerspectivePlan, num_slots: int) -> np.ndarray:
    """What stands in each token's part of the square: int64 [576, num_slots]. ``glyphs`` are in the image's pixels."""
    pad, scale = plan.padding_original_px, TOKENS_PER_SIDE * CELL_PX / plan.square_original_px
    placed = glyphs.placed(1, 1, pad.left, pad.top).placed(scale, scale)
    return cell_targets(placed, num_slots, TOKENS_PER_SIDE, TOKENS_PER_SIDE).reshape(NUM_VISUAL_TOKENS, num_slots)


def export(kit: InfKit, folder: Path) -> None:
    """Write the model as an ordinary checkpoint folder."""
    tokenizer = kit.processor.tokenizer
    kit.model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
        num_beams=1,
        repetition_penalty=1.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    kit.model.save_pretrained(folder)
    kit.processor.save_pretrained(folder)


def load_inf_config(path: Path) -> InfTrainingConfig:
    """Read and check a YAML file. Raises SettingsError naming what is wrong."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["signs"] = _build(InfStageConfig, raw.get("signs"), f"{path.name}: signs")
    return _build(InfTrainingConfig, raw, path.name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ixc.training.inf_llava", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the finished model")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        kit = InfKit.make(load_inf_config(options.config))
        train_stage(SignStage(kit), kit, options.out / "signs")
        export(kit, options.out / "model")
    except IxcError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


if __name__ == "__main__":
    sys.exit(main())
