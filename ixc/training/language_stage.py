"""The language model learns to answer from codes: no picture is painted, no vision tower runs.

The paper has no such stage: its language model comes trained. Here it starts from nothing and first learns to read at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ixc.models.xcomposer2 import VisualSpans
from ixc.models.xcomposer2.vision import lay_out_tokens
from ixc.tiling import TOKENS_PER_SIDE
from ixc.training.answer_loss import SENSES_LR_SCALE, Senses, answer_loss
from ixc.training.cells import EMPTY, NUM_CHARACTER_CLASSES, cell_slots, cell_targets, map_glyphs, view_targets
from ixc.training.codebook import CODE_RMS
from ixc.training.fonts import FontFile, training_fonts
from ixc.training.lessons import MAX_DRAWS, Lesson, LessonIds, Row, collate, draw_lesson
from ixc.training.pointers import NOWHERE, Places, visual_places
from ixc.training.stages import Batch, Kit, bfloat16, generator_for
from ixc.training.tile_sense import tiles_of_tokens, tiles_of_written

LENGTHS = (0, 256, 384, 512, 640, 1100, 1850, 3200, 4200)
"""A batch holds lessons whose numbers of tokens lie between the same two of these; longer ones are left out."""


class LanguageStage:
    """Conversations about documents at mixed budgets, whose visual tokens are noisy codes; the loss is that of the answers."""

    name = "language"

    def __init__(
        self, kit: Kit, fonts: Sequence[FontFile] | None = None, extra: Senses | None = None, series: str = name
    ) -> None:
        """``series``: which endless series of batches is drawn; a rehearsal has its own, lest it repeat what was learned."""
        self._kit = kit
        self._series = series
        self.config = kit.config.language
        self._fonts = fonts or training_fonts()
        self.extra = extra or Senses(kit.model.config.hidden_size)

    def learning_rate_scale(self, name: str) -> float:
        """Partial LoRA is for what the vision tower says; it waits for the joint stage."""
        if name.startswith("extra."):
            return SENSES_LR_SCALE
        return 1.0 if name.startswith(("model.", "output.")) and "Plora" not in name else 0.0

    def make_batch(self, step: int) -> Batch:
        """As many lessons of about one length as ``tokens_per_batch`` allows; ids, labels and ``visual`` [tokens, D]."""
        rng = generator_for(self._kit.data_seed, self._series, step)
        is_short = step < self.config.num_short_steps or rng.random() < self.config.short_share
        shortest, longest = 0, 0
        rows: list[Row] = []
        visual: list[Tensor] = []
        for _ in range(MAX_DRAWS):
            lesson = draw_lesson(rng, self._fonts, self.config.budgets, only_lookups=is_short, kinds=self.config.kind_shares())
            ids = LessonIds.of(lesson, self._kit.processor)
            codes, places, tiles_N3 = self._codes(rng, lesson, is_short)
            num_tokens = ids.num_tokens(len(codes))
            if not rows:  # the first one decides about the batch
                shortest, longest = next(((a, b) for a, b in pairwise(LENGTHS) if num_tokens <= b), (0, 0))
            if shortest < num_tokens <= longest:
                rows.append(Row(ids, len(codes), places, tiles_N3, lesson.bindings))
                visual.append(codes)
                if len(rows) >= self.config.tokens_per_batch // longest:
                    break
        codes = torch.cat(visual)
        noise = torch.from_numpy(rng.standard_normal(codes.shape, np.float32))
        return {**collate(rows, self._kit.processor), "visual": codes + self.config.noise * CODE_RMS * noise}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        model, input_ids = self._kit.model, batch["input_ids"]
        embeds_BSD = model.model.tok_embeddings(input_ids)
        is_visual = (input_ids == model.config.image_token_id)[..., None]
        embeds_BSD = embeds_BSD.masked_scatter(is_visual, batch["visual"].to(embeds_BSD))
        no_spans = VisualSpans(((),) * len(input_ids))
        with bfloat16(model):
            batch = {**batch, "spans": no_spans}
            return answer_loss(model, embeds_BSD, batch, self.config, self.extra)

    def _codes(
        self, rng: np.random.Generator, lesson: Lesson, is_short: bool
    ) -> tuple[Tensor, Places | None, np.ndarray | None]:
        """The lesson's visual tokens [N, D], what stands in them, and where each stands [N, 3].

        Of a short one the written part of the tiles only, without the global view.
        """
        if lesson.document is None:
            return torch.zeros(0, self._kit.codebook.newline_D.numel()), None, None
        book, num_slots = self._kit.codebook, self._kit.config.num_slots
        glyphs, plan = lesson.document.glyphs(), lesson.plan
        if not is_short:
            views = self._misread(rng, view_targets(glyphs, plan, num_slots))
            codes = lay_out_tokens(book.embed(views), plan.grid, book.newline_D, book.separator_D)
            return codes, visual_places(glyphs, plan, num_slots), tiles_of_tokens(plan)
        rows, cols = plan.grid.rows * TOKENS_PER_SIDE, plan.grid.cols * TOKENS_PER_SIDE
        placed = map_glyphs(glyphs, plan)
        cells = self._misread(rng, cell_targets(placed, num_slots, rows, cols))
        views = cells.reshape(plan.grid.rows, TOKENS_PER_SIDE, plan.grid.cols, TOKENS_PER_SIDE, num_slots).transpose(1, 2)
        codes = book.embed(views).transpose(1, 2).reshape(rows, cols, -1)
        written = (cells > EMPTY).any(-1)
        if not written.any():
            return codes[:0].flatten(0, 1), None, None
        first, last = _bounds(written.any(1))
        codes = codes[first : last + 1, : min(_bounds(written.any(0))[1] + 2, cols)]
        places = _cropped(*cell_slots(placed, num_slots, rows, cols), cols, first, codes.shape[1] + 1)
        tiles_N3 = tiles_of_written(first, *codes.shape[:2])
        return torch.cat((codes, book.newline_D.expand(len(codes), 1, -1)), dim=1).flatten(0, 1), places, tiles_N3

    def _misread(self, rng: np.random.Generator, targets: np.ndarray) -> Tensor:
        """Targets with some characters mistaken."""
        targets = targets.clip(min=EMPTY)
        wrong = (rng.random(targets.shape) < self.config.slot_dropout) & (targets > EMPTY)
        targets[wrong] = rng.integers(1, NUM_CHARACTER_CLASSES, wrong.sum())
        return torch.from_numpy(targets)


def _cropped(cells_N: np.ndarray, slots_N: np.ndarray, cols: int, first_row: int, new_cols: int) -> Places:
    """Cells of a map ``cols`` wide -> the same ones in rows of ``new_cols`` tokens from ``first_row`` on."""
    tokens_N = (cells_N // cols - first_row) * new_cols + cells_N % cols
    return Places(np.where(cells_N >= 0, tokens_N, NOWHERE), slots_N)


def _bounds(where: Tensor) -> tuple[int, int]:
    places = where.nonzero().flatten()
    return int(places[0]), int(places[-1])
