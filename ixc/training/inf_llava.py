"""``python -m ixc.training.inf_llava --config ixc/training/configs/inf_nano.yaml --out runs/inf_nano``: a small INF-LLaVA.

The same classes as the released model, taught documents by the renderer and the lessons that teach ixc-nano. Tower and
language model begin as ixc-nano's. The tower's first layers stay frozen; in the paper all of them do, but what ixc-nano's last
layers say no longer tells where in a view a patch lies, and without that two perspectives cannot be put together. First they,
enhancement and projector learn to say what ixc-nano's language model already reads, ``vision``; then the language model trains
along, on the answers, ``lessons``. It begins without what ixc-nano has for visual tokens alone: so it reads codes better.
Each stage resumes where it was killed. ``torchrun --nproc-per-node 2 -m ixc.training.inf_llava ...`` trains with two processes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ixc.conversation import LLAMA3_CHAT
from ixc.dual_perspective import NUM_VISUAL_TOKENS, SQUARE_PX, TOKENS_PER_SIDE, VIEW_PX, DualPerspectivePlan
from ixc.models.inf_llava import InfLlavaForCausalLM, InfLlavaImageProcessor, InfLlavaProcessor
from ixc.training.answer_loss import answer_loss
from ixc.training.checkpoints import load_result, weights_digest
from ixc.training.export import export_checkpoint
from ixc.training.fonts import FontFile, training_fonts
from ixc.training.inf_config import InfTrainingConfig, load_inf_config
from ixc.training.inf_initial import byte_tokenizer, initial_inf_model
from ixc.training.inf_lessons import (
    TokenCodebook,
    draw_inf_lesson,
    lesson_ids,
    token_places,
    token_targets,
    views_of_padding,
)
from ixc.training.layout import Document, lay_out_page
from ixc.training.lessons import Lesson, Row, collate, draw_training_paper
from ixc.training.loop import train_stage
from ixc.training.painting import paint
from ixc.training.program import make_out, run_training, training_options
from ixc.training.stages import Batch, bfloat16, data_seed, generator_for, process_rank, training_device

PAGE_ADVANCE_PX = (7.0, 24.0)
"""Bounds of the mean width of a dense page's characters where the page is 336 pixels wide."""


@dataclass(frozen=True, slots=True)
class InfKit:
    """The model under training, its processor and codebook, and the settings the training loop reads."""

    config: InfTrainingConfig
    model: InfLlavaForCausalLM
    processor: InfLlavaProcessor
    codebook: TokenCodebook
    data_seed: int
    """Of the documents; another one in each of several processes that train together."""

    @classmethod
    def make(cls, config: InfTrainingConfig) -> InfKit:
        """A fresh kit on the device that trains."""
        processor = InfLlavaProcessor(InfLlavaImageProcessor(), byte_tokenizer(), default_system="", sees_one_image=True)
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
        model = initial_inf_model(config.model, processor.tokenizer, Path(config.start_from), config.seed)
        codebook = TokenCodebook(config.num_slots, model.config.hidden_size)
        return cls(config, model.to(training_device()), processor, codebook, data_seed(config.seed))


class VisionStage:
    """Enhancement and projector learn to say which characters stand in each token's cell, in ixc-nano's codes."""

    name = "vision"
    trained = ("spatial_embed", "mm_projector")

    def __init__(self, kit: InfKit, fonts: Sequence[FontFile] | None = None) -> None:
        self._kit = kit
        self.config = getattr(kit.config, self.name)
        self._fonts = fonts or training_fonts()
        self.extra = nn.Module()
        num_used = len(kit.model.model.vision_tower.clip.encoder.layers) - 1  # the last one never is
        self._trained_layers = range(num_used)[max(0, num_used - self.config.num_tower_layers) :]

    def learning_rate_scale(self, name: str) -> float:
        if "vision_tower" in name:
            layer = re.search(r"encoder\.layers\.(\d+)\.", name)
            return self.config.tower_lr_scale if layer and int(layer[1]) in self._trained_layers else 0.0
        return 1.0 if any(part in name for part in self.trained) else self.language_lr_scale

    @property
    def language_lr_scale(self) -> float:
        return 0.0

    def make_batch(self, step: int) -> Batch:
        rng = generator_for(self._kit.data_seed, self.name, step)
        return self._pictures([self._draw(rng) for _ in range(self.config.batch_size)])

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        with bfloat16(self._kit.model):
            visual_BTD = self._encode(batch)
        return self._kit.codebook.loss(visual_BTD.unflatten(1, (TOKENS_PER_SIDE, TOKENS_PER_SIDE)), batch["targets"])

    def _draw(self, rng: np.random.Generator) -> tuple[Document, DualPerspectivePlan]:
        if rng.random() < self.config.page_share:
            document = lay_out_page(rng, self._fonts, PAGE_ADVANCE_PX)
        else:
            document = draw_training_paper(rng, self._fonts, kinds=self.config.kind_shares()).document
        input_px = VIEW_PX if rng.random() < self.config.small_share else SQUARE_PX
        return document, DualPerspectivePlan(document.size_px, input_px)

    def _pictures(self, pictures: Sequence[tuple[Document, DualPerspectivePlan]]) -> Batch:
        """Squares uint8 [1, 3, side, side] each, which views of them are padding [B, 10], and targets [B, 24, 24, K]."""
        cut, num_slots = self._kit.processor.image_processor.cut, self._kit.config.num_slots
        targets = [token_targets(document.glyphs(), plan, num_slots) for document, plan in pictures]
        return {
            "squares": [torch.from_numpy(cut(paint(document), plan)) for document, plan in pictures],
            "is_padding": torch.tensor([views_of_padding(plan) for _, plan in pictures]),
            "targets": torch.from_numpy(np.stack(targets)),
        }

    def _encode(self, batch: Batch) -> Tensor:
        """Visual tokens [B, 576, D]. All views of padding look the same: one of them is enough."""
        model = self._kit.model
        is_padding_V = batch["is_padding"].flatten()
        is_encoded_V = ~is_padding_V
        if is_padding_V.any():
            is_encoded_V[is_padding_V.int().argmax()] = True
        place_V = is_encoded_V.int().cumsum(0) - 1
        place_V[is_padding_V] = place_V[is_padding_V].min() if is_padding_V.any() else 0
        views = torch.cat([model.make_views(square.to(model.device)) for square in batch["squares"]])
        feat_BVPD = self._see(views[is_encoded_V])[place_V].unflatten(0, batch["is_padding"].shape)
        return model.vision_proj(torch.stack([model.lay_out(features) for features in feat_BVPD]))

    def _see(self, views_NCHW: Tensor) -> Tensor:
        """``encode_views``, but nothing is kept of the frozen layers for the way back."""
        clip = self._kit.model.model.vision_tower.clip
        layers = clip.encoder.layers[:-1]
        with torch.no_grad():
            hidden = clip.pre_layrnorm(clip.embeddings(views_NCHW))
            for layer in layers[: self._trained_layers.start]:
                hidden = layer(hidden, attention_mask=None)
        for layer in layers[self._trained_layers.start :]:
            hidden = layer(hidden, attention_mask=None)
        return hidden[:, 1:]


class LessonStage(VisionStage):
    """Conversations about documents; the loss is the answers', plus a share of the codebook's on every token."""

    name = "lessons"

    @property
    def language_lr_scale(self) -> float:
        return self.config.language_lr_scale

    def make_batch(self, step: int) -> Batch:
        rng = generator_for(self._kit.data_seed, self.name, step)
        lessons: list[Lesson] = []
        while len(lessons) < self.config.batch_size:
            lesson = draw_inf_lesson(rng, self._fonts, self.config.small_share, self.config.kind_shares())
            if lessons or lesson.document is not None:  # a batch shows something
                lessons.append(lesson)
        rows = [self._row(lesson) for lesson in lessons]
        pictures = [(lesson.document, lesson.plan) for lesson in lessons if lesson.document is not None]
        return {**collate(rows, self._kit.processor), **self._pictures(pictures)}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        model = self._kit.model
        with bfloat16(model):
            visual_BTD = self._encode(batch)
            embeds_BSD = model.embed(batch["input_ids"], visual_BTD)
            loss, right = answer_loss(model, embeds_BSD, batch, self.config)
        map_BTTD = visual_BTD.unflatten(1, (TOKENS_PER_SIDE, TOKENS_PER_SIDE))
        auxiliary, metrics = self._kit.codebook.loss(map_BTTD, batch["targets"])
        return loss + self.config.auxiliary_weight * auxiliary, {**metrics, **right}

    def _row(self, lesson: Lesson) -> Row:
        ids = lesson_ids(lesson, self._kit.processor)
        if lesson.document is None:
            return Row(ids)
        places = token_places(lesson.document.glyphs(), lesson.plan, self._kit.config.num_slots)
        return Row(ids, NUM_VISUAL_TOKENS, places)


def main(arguments: list[str] | None = None) -> int:
    options = training_options("ixc.training.inf_llava", __doc__.splitlines()[0]).parse_args(arguments)
    return run_training(lambda: run_stages(options.config, options.out))


def run_stages(config_file: Path, out: Path) -> None:
    """Train both stages and write the finished model into ``out/model``. Raises IxcError."""
    config = load_inf_config(config_file)
    make_out(out)
    kit = InfKit.make(config)
    train_stage(VisionStage(kit), kit, out / VisionStage.name)
    seen = weights_digest(load_result(out, VisionStage.name))
    train_stage(LessonStage(kit), kit, out / LessonStage.name, begun_with={VisionStage.name: seen})
    if process_rank() == 0:
        export_checkpoint(kit, out / "model", LLAMA3_CHAT.turn_end)


if __name__ == "__main__":
    sys.exit(main())
