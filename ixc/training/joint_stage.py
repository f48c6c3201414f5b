"""Everything trains end to end on painted documents at mixed budgets. Paper: supervised fine-tuning with mixed resolution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ixc.imaging.resize import cut_tiles, resize_and_pad
from ixc.models.xcomposer2.vision import make_views, normalise
from ixc.tiling import Grid
from ixc.training.ablation import kept_tokens, places_among
from ixc.training.answer_loss import SENSES_LR_SCALE, Senses, answer_loss
from ixc.training.cells import view_targets
from ixc.training.checkpoints import load_result, weights_digest
from ixc.training.fonts import FontFile, training_fonts
from ixc.training.initial import EYES
from ixc.training.language_stage import LanguageStage
from ixc.training.lessons import Lesson, LessonIds, Row, collate, draw_alike, draw_lesson
from ixc.training.optim import layerwise_decay
from ixc.training.painting import paint
from ixc.training.pointers import visual_places
from ixc.training.stages import Batch, Kit, bfloat16, generator_for
from ixc.training.tile_sense import tiles_of_tokens

ONE_TILE = Grid(1, 1)


class JointStage:
    """Lessons with pictures; the loss is the answer's, plus a share of the codebook's on every view.

    Some steps rehearse the language stage instead.
    """

    name = "joint"

    def __init__(self, kit: Kit, fonts: Sequence[FontFile] | None = None) -> None:
        self._kit = kit
        self.config = getattr(kit.config, self.name)
        self._fonts = fonts or training_fonts()
        self.extra = Senses(kit.model.config.hidden_size)
        rehearses = self.config.rehearsal_share > 0
        self._rehearsal = LanguageStage(kit, self._fonts, self.extra, f"{self.name} rehearsal") if rehearses else None

    def learning_rate_scale(self, name: str) -> float:
        if name.startswith(EYES):
            num_layers = self._kit.model.config.vision_config.num_hidden_layers
            return self.config.vision_lr_scale * layerwise_decay(name, num_layers, self.config.vision_lr_decay)
        if name.startswith("extra."):
            return SENSES_LR_SCALE
        return 1.0 if "Plora" in name else self.config.language_lr_scale

    def make_batch(self, step: int) -> Batch:
        """As many lessons cut alike as ``views_per_batch`` allows; or one without an image; or a batch of codes."""
        is_rehearsal = generator_for(self._kit.config.seed, "rehearsal", step).random() < self.config.rehearsal_share
        if is_rehearsal:  # in every process at once
            return self._rehearsal.make_batch(self._rehearsal.config.num_steps + step)
        rng = generator_for(self._kit.data_seed, self.name, step)
        kinds = self.config.kind_shares()
        turns = self.config.max_turns
        first = draw_lesson(rng, self._fonts, self.config.budgets, kinds=kinds, max_turns=turns)
        lessons = [first]
        if first.document is not None:
            num_views = 1 if first.plan.grid == ONE_TILE else first.plan.num_views
            lessons = draw_alike(rng, self._fonts, first, self.config.views_per_batch // num_views, kinds, turns)
        processor = self._kit.processor
        if lessons[0].document is None:
            return collate([Row(LessonIds.of(lessons[0], processor))], processor)
        tiles, targets = zip(*(self._picture(lesson) for lesson in lessons), strict=True)
        plan = lessons[0].plan
        return {
            **collate([self._row(lesson) for lesson in lessons], processor),
            "tiles": torch.from_numpy(np.stack(tiles)),
            "targets": torch.from_numpy(np.concatenate(targets)),
            "grid": (plan.grid.rows, plan.grid.cols),
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        if "visual" in batch:
            return self._rehearsal.loss(batch)
        model, input_ids = self._kit.model, batch["input_ids"]
        embeds_BSD = model.model.tok_embeddings(input_ids)
        auxiliary, metrics = embeds_BSD.new_zeros(()), {}
        with bfloat16(model):
            if "tiles" in batch:
                grid = Grid(*batch["grid"])
                feat_NTTE = self._encode(batch["tiles"], grid)
                tokens_NTTD = model.vision_proj(feat_NTTE)
                auxiliary, metrics = self._kit.codebook.loss(tokens_NTTD, batch["targets"], self.config.mark_weight)
                per_image = feat_NTTE.split(grid.rows * grid.cols + 1)
                kept = torch.from_numpy(kept_tokens(grid, self.config.without)).to(feat_NTTE.device)
                visual = model.vision_proj(torch.cat([model.lay_out(feat, grid)[kept] for feat in per_image]))
                is_visual = (input_ids == model.config.image_token_id)[..., None]
                embeds_BSD = embeds_BSD.masked_scatter(is_visual, visual.to(embeds_BSD))
            loss, right = answer_loss(model, embeds_BSD, batch, self.config, self.extra)
        return loss + self.config.auxiliary_weight * auxiliary, {**metrics, **right}

    def _encode(self, tiles_BNCHW: Tensor, grid: Grid) -> Tensor:
        """Merged features of every image's views, global first: [B * views, 12, 12, E]."""
        model = self._kit.model
        if grid == ONE_TILE:  # the global view is the tile itself: once through the tower is enough
            return model.encode_views(normalise(tiles_BNCHW[:, 0])).repeat_interleave(2, dim=0)
        return model.encode_views(torch.cat([make_views(tiles, grid, torch.float32) for tiles in tiles_BNCHW]))

    def _row(self, lesson: Lesson) -> Row:
        places = visual_places(lesson.document.glyphs(), lesson.plan, self._kit.config.num_slots)
        kept_N = kept_tokens(lesson.plan.grid, self.config.without)
        tiles_N3 = None if self.config.without else tiles_of_tokens(lesson.plan)
        ids = LessonIds.of(lesson, self._kit.processor)
        return Row(ids, int(kept_N.sum()), places_among(kept_N, places), tiles_N3, lesson.bindings)

    def _picture(self, lesson: Lesson) -> tuple[np.ndarray, np.ndarray]:
        """The lesson's tiles [tiles, 3, 336, 336] and its views' targets."""
        tiles = cut_tiles(resize_and_pad(paint(lesson.document), lesson.plan), lesson.plan)
        return tiles, view_targets(lesson.document.glyphs(), lesson.plan, self._kit.config.num_slots)


class ReadingStage(JointStage):
    """The same with settings of its own, before it: the tower frozen, the language model learns what it really says."""

    name = "reading"


def join_parts(kit: Kit, out: Path, *, as_they_are: bool = False) -> dict[str, str]:
    """Put the finished language and vision stages together in ``kit.model``, those that the configuration has.

    Returns the digests of their results. ``as_they_are``: also stages that are not finished. Raises CheckpointError naming what
    is missing.
    """
    digests = {}
    for name in ("language", "vision"):
        if not kit.config.trains(name):
            continue
        weights = load_result(out, name, 0 if as_they_are else getattr(kit.config, name).num_steps)
        parts = {key: value for key, value in weights.items() if key.startswith(EYES) == (name == "vision")}
        kit.model.load_state_dict(parts, strict=False)
        digests[name] = weights_digest(parts)
    return digests
