"""The language model learns to answer from codes: no picture is painted, no vision tower runs.

The paper has no such stage: its language model comes trained. Here it starts from nothing and first learns to read at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ixc.tiling import TOKENS_PER_SIDE, TilePlan, plan_tiles
from ixc.training.cells import EMPTY, NUM_CLASSES, view_targets
from ixc.training.codebook import CODE_RMS
from ixc.training.fonts import FontFile, training_fonts
from ixc.training.layout import Document
from ixc.training.lessons import LessonIds, Shares, answer_metrics, collate, draw_lesson
from ixc.training.stages import Batch, Kit, bfloat16, generator_for
from ixc.training.wording import Split

NEWLINE, SEPARATOR = -1, -2
"""What stands in the first slot of a newline's and of the separator's row of targets."""

SHORT_ROWS = (2, 4, 4, 4, 12)
"""How many token rows of the global view short lessons show, one stretch of steps after the other."""


class LanguageStage:
    """Whole token sequences of signs at mixed budgets, made of codes with noise; the loss is that of the answer."""

    name = "language"

    def __init__(self, kit: Kit, fonts: Sequence[FontFile] | None = None) -> None:
        self._kit = kit
        self.config = kit.config.language
        self._fonts = fonts or training_fonts()
        self.extra = nn.Module()

    def learning_rate_scale(self, name: str) -> float:
        return 1.0 if name.startswith(("model.", "output.")) else 0.0

    def make_batch(self, step: int) -> Batch:
        """Lessons whose images are cut alike, so that the visual tokens stand in one block of the batch."""
        rng = generator_for(self._kit.config.seed, self.name, step)
        num_rows = None
        if step < self.config.num_short_steps:
            num_rows = SHORT_ROWS[len(SHORT_ROWS) * step // self.config.num_short_steps]
        budget = int(rng.choice(self.config.budgets))
        rows: list[tuple[LessonIds, int]] = []
        targets: list[np.ndarray] = []
        longest = 0
        while True:
            lesson = draw_lesson(rng, self._fonts, Split.TRAINING, Shares())
            visual = self._visual_targets(rng, lesson.document, budget, num_rows)
            if rows and len(visual) != rows[0][1]:
                continue
            ids = LessonIds.of(lesson, self._kit.processor)
            longest = max(longest, ids.num_tokens(len(visual)))
            if rows and longest * (len(rows) + 1) > self.config.tokens_per_batch:
                break
            rows.append((ids, len(visual)))
            targets.append(visual)
        return {**collate(rows, self._kit.processor), "targets": torch.from_numpy(np.concatenate(targets)), "step": step}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        model, codebook = self._kit.model, self._kit.codebook
        targets = batch["targets"]
        visual = codebook.embed(targets)
        visual[targets[:, 0] == NEWLINE] = codebook.newline_D
        visual[targets[:, 0] == SEPARATOR] = codebook.separator_D
        noise = torch.Generator().manual_seed(batch["step"])
        visual += self.config.noise * CODE_RMS * torch.randn(visual.shape, generator=noise)
        input_ids = batch["input_ids"]
        embeds_BSD = model.model.tok_embeddings(input_ids)
        embeds_BSD = embeds_BSD.masked_scatter((input_ids == model.config.image_token_id)[..., None], visual)
        with bfloat16(model):
            out = model(inputs_embeds=embeds_BSD, visual_spans=batch["spans"], labels=batch["labels"])
        return out.loss, answer_metrics(out.logits.detach(), batch["labels"])

    def _visual_targets(
        self, rng: np.random.Generator, document: Document | None, budget: int, num_rows: int | None
    ) -> np.ndarray:
        """Targets of the visual tokens in their order: [tokens, K]; some characters are mistaken."""
        num_slots = self._kit.config.num_slots
        if document is None:
            return np.empty((0, num_slots), np.int64)
        plan = plan_tiles(document.size_px, budget)
        views = view_targets(document.characters(), document.boxes(), plan, num_slots).clip(min=EMPTY)
        wrong = (rng.random(views.shape) < self.config.slot_dropout) & (views > EMPTY)
        views[wrong] = rng.integers(1, NUM_CLASSES, wrong.sum())
        if num_rows is not None:
            return _end_rows(_rows_with_text(rng, views[0], num_rows))
        return lay_out_targets(views, plan)


def lay_out_targets(views: np.ndarray, plan: TilePlan) -> np.ndarray:
    """Targets of views [views, 12, 12, K] -> of the image's sequence [num_visual_tokens, K], newlines and separator marked."""
    side, grid, num_slots = TOKENS_PER_SIDE, plan.grid, views.shape[-1]
    local = views[1:].reshape(grid.rows, grid.cols, side, side, num_slots).swapaxes(1, 2)
    separator = np.zeros((1, num_slots), np.int64)
    separator[0, 0] = SEPARATOR
    return np.concatenate((_end_rows(views[0]), separator, _end_rows(local.reshape(grid.rows * side, -1, num_slots))))


def _rows_with_text(rng: np.random.Generator, map_TTK: np.ndarray, num_rows: int) -> np.ndarray:
    """``num_rows`` rows of a map, text anywhere in them."""
    written = np.flatnonzero((map_TTK > EMPTY).any((1, 2)))
    last_first = TOKENS_PER_SIDE - num_rows
    if not written.size:
        return map_TTK[:num_rows]
    low, high = max(0, written[-1] - num_rows + 1), min(written[0], last_first)
    first = int(rng.integers(low, high + 1)) if low <= high else min(int(written[0]), last_first)
    return map_TTK[first : first + num_rows]


def _end_rows(map_HWK: np.ndarray) -> np.ndarray:
    newline = np.zeros((map_HWK.shape[0], 1, map_HWK.shape[2]), np.int64)
    newline[..., 0] = NEWLINE
    return np.concatenate((map_HWK, newline), axis=1).reshape(-1, map_HWK.shape[2])
