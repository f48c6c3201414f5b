"""The language model learns to answer from codes: no picture is painted, no vision tower runs.

The paper has no such stage: its language model comes trained. Here it starts from nothing and first learns to read at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ixc.models.xcomposer2.vision import lay_out_tokens
from ixc.tiling import TOKENS_PER_SIDE, Grid
from ixc.training.cells import EMPTY, NUM_CHARACTER_CLASSES, view_targets
from ixc.training.codebook import CODE_RMS
from ixc.training.fonts import FontFile, training_fonts
from ixc.training.lessons import Lesson, LessonIds, answer_loss, collate, draw_lessons
from ixc.training.stages import Batch, Kit, bfloat16, generator_for

SHORT_LESSON_TOKENS = 330
"""About as many as a short lesson has."""


class LanguageStage:
    """Conversations about documents at mixed budgets, whose visual tokens are noisy codes; the loss is that of the answers."""

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
        is_short = step < self.config.num_short_steps
        budget = 1 if is_short else int(rng.choice(self.config.budgets))
        num_tokens = SHORT_LESSON_TOKENS if is_short else 150 + 160 * (budget + 1)
        max_lessons = max(1, self.config.tokens_per_batch // num_tokens)
        lessons = draw_lessons(rng, self._fonts, budget, max_lessons, only_lookups=is_short)
        processor = self._kit.processor
        if lessons[0].document is None:
            return {**collate([(LessonIds.of(lessons[0], processor), 0)], processor), "step": step}
        views = [self._views(rng, lesson) for lesson in lessons]
        num_visual = lessons[0].plan.num_visual_tokens
        if is_short:
            views = _rows_with_text([each[0] for each in views])
            num_visual = len(views[0]) * (TOKENS_PER_SIDE + 1)
        grid = lessons[0].plan.grid
        return {
            **collate([(LessonIds.of(lesson, processor), num_visual) for lesson in lessons], processor),
            "views": torch.from_numpy(np.stack(views)),
            "grid": None if is_short else (grid.rows, grid.cols),
            "step": step,
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        model, input_ids = self._kit.model, batch["input_ids"]
        embeds_BSD = model.model.tok_embeddings(input_ids)
        if "views" in batch:
            visual = self._visual_tokens(batch).to(embeds_BSD)
            embeds_BSD = embeds_BSD.masked_scatter((input_ids == model.config.image_token_id)[..., None], visual)
        with bfloat16(model):
            return answer_loss(model, embeds_BSD, batch)

    def _visual_tokens(self, batch: Batch) -> Tensor:
        """The batch's codes with noise, in the order of the model's visual tokens."""
        book = self._kit.codebook
        if batch["grid"]:
            layout = (Grid(*batch["grid"]), book.newline_D, book.separator_D)
            visual = torch.stack([lay_out_tokens(book.embed(each), *layout) for each in batch["views"]])
        else:
            rows = batch["views"].shape[1]
            codes = book.embed(nn.functional.pad(batch["views"], (0, 0, 0, 0, 0, TOKENS_PER_SIDE - rows)))[:, :rows]
            newline = book.newline_D.expand(*codes.shape[:2], 1, -1)
            visual = torch.cat((codes, newline), dim=2).flatten(1, 2)
        noise = torch.Generator().manual_seed(batch["step"])
        return visual + self.config.noise * CODE_RMS * torch.randn(visual.shape, generator=noise)

    def _views(self, rng: np.random.Generator, lesson: Lesson) -> np.ndarray:
        """Targets of the lesson's views; some characters are mistaken."""
        views = view_targets(lesson.document.glyphs(), lesson.plan, self._kit.config.num_slots).clip(min=EMPTY)
        wrong = (rng.random(views.shape) < self.config.slot_dropout) & (views > EMPTY)
        views[wrong] = rng.integers(1, NUM_CHARACTER_CLASSES, wrong.sum())
        return views


def _rows_with_text(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of maps [12, 12, K] the rows that hold something, from the first on and equally many of each."""
    written = [np.flatnonzero((each > EMPTY).any((1, 2))) for each in maps]
    num_rows = max(int(rows[-1] - rows[0]) + 1 if rows.size else 1 for rows in written)
    firsts = [min(int(rows[0]), TOKENS_PER_SIDE - num_rows) if rows.size else 0 for rows in written]
    return [each[first : first + num_rows] for each, first in zip(maps, firsts, strict=True)]
