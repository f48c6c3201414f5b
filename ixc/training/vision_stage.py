"""Vision tower and projector learn to emit the codes of the characters they look at.

Paper: pre-training, with the language model frozen; here it is not even there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

from ixc.imaging.resize import cut_tiles, resize_and_pad
from ixc.models.xcomposer2.vision import make_views, merge_patches, normalise
from ixc.tiling import TILE_PX, TOKENS_PER_SIDE, Grid, TilePlan, plan_tiles
from ixc.training.cells import EMPTY, NUM_CHARACTER_CLASSES, Glyphs, cell_targets, patch_targets, view_glyphs
from ixc.training.config import LARGEST_GLOBAL_BUDGET
from ixc.training.fonts import FontFile, training_fonts
from ixc.training.initial import EYES
from ixc.training.layout import Document, lay_out_page
from ixc.training.lessons import draw_training_paper
from ixc.training.painting import paint, paint_squashed
from ixc.training.stages import Batch, Kit, bfloat16, generator_for

GLOBAL_SHARE = 0.4
"""Share of global views among the views of documents; they are drawn at small budgets only, where they can be read."""

TINY_SHARE = 0.1
TINY_ADVANCE_PX = (4.0, 13.5)
"""Pages that cannot be read, so that the tower learns to say so, and by how much."""

ONE_TILE = Grid(1, 1)


class VisionStage:
    """Single views, dense pages first and more and more documents; the loss is the codebook's and that of a head on patches.

    The patch head names the character that a 14 px patch shows a part of. It is easier to learn than the ordered contents of
    a cell, comes before it, and is thrown away after this stage.
    """

    name = "vision"

    def __init__(self, kit: Kit, fonts: Sequence[FontFile] | None = None) -> None:
        self._kit = kit
        self.config = kit.config.vision
        self._fonts = fonts or training_fonts()
        self.extra = nn.Linear(kit.model.config.vision_config.hidden_size, NUM_CHARACTER_CLASSES)
        nn.init.zeros_(self.extra.weight)
        nn.init.zeros_(self.extra.bias)

    def learning_rate_scale(self, name: str) -> float:
        return 1.0 if name.startswith((*EYES, "extra.")) else 0.0

    def make_batch(self, step: int) -> Batch:
        first, last = self.config.page_share
        page_share = first + (last - first) * step / self.config.num_steps
        rngs = (generator_for(self._kit.data_seed, self.name, step, row) for row in range(self.config.batch_size))
        tiles, grids, targets, patches = zip(*(self._example(rng, page_share) for rng in rngs), strict=True)
        return {
            "tiles": torch.from_numpy(np.concatenate(tiles)),
            "grids": [(grid.rows, grid.cols) for grid in grids],
            "targets": torch.from_numpy(np.stack(targets)),
            "patches": torch.from_numpy(np.stack(patches)),
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        model, codebook = self._kit.model, self._kit.codebook
        with bfloat16(model):
            feat_NPD = model.vit(_views(batch["tiles"], [Grid(*grid) for grid in batch["grids"]]))
            patch_logits_NPV = F.linear(feat_NPD, self.extra.weight, self.extra.bias)
            tokens_NTTD = model.vision_proj(merge_patches(feat_NPD))
            ends = model.vision_proj(torch.cat((model.plora_sub_GN.view(1, -1), model.plora_glb_GN.view(1, -1))))
        loss, metrics = codebook.loss(tokens_NTTD, batch["targets"], self.config.mark_weight)
        end_codes = torch.stack((codebook.newline_D, codebook.separator_D)).to(ends.device)
        ends_loss = (ends.float() - end_codes).square().mean()
        patch_loss, metrics["patches_right"] = self._patch_loss(patch_logits_NPV.float(), batch["patches"].flatten(1))
        return loss + ends_loss + self.config.patch_weight * patch_loss, metrics

    def _patch_loss(self, logits_NPV: Tensor, targets_NP: Tensor) -> tuple[Tensor, float]:
        """Cross-entropy, written and empty patches apart; and the share of written patches that are named rightly."""
        each_NP = F.cross_entropy(logits_NPV.transpose(1, 2), targets_NP, reduction="none")
        is_written = targets_NP > EMPTY
        num_written = is_written.sum().clamp(min=1)
        right = (logits_NPV.detach().argmax(-1) == targets_NP)[is_written].float().sum() / num_written
        empty = each_NP[~is_written].sum() / (~is_written).sum().clamp(min=1)
        return each_NP[is_written].sum() / num_written + 0.5 * empty, float(right)

    def _example(self, rng: np.random.Generator, page_share: float) -> tuple[np.ndarray, Grid, np.ndarray, np.ndarray]:
        """The tiles of one view, see ``_views``, and their grid; the view's targets [12, 12, K] and its patches' [24, 24]."""
        if rng.random() < page_share:
            advance_px = TINY_ADVANCE_PX if rng.random() < TINY_SHARE else self.config.page_advance_px
            tiles, grid, glyphs = self._page(lay_out_page(rng, self._fonts, advance_px))
        else:
            paper = draw_training_paper(rng, self._fonts, kinds=self.config.kind_shares())
            tiles, grid, glyphs = self._view_of(rng, paper.document)
        cells = cell_targets(glyphs, self._kit.config.num_slots, TOKENS_PER_SIDE, TOKENS_PER_SIDE)
        return tiles, grid, cells, patch_targets(glyphs)

    def _page(self, document: Document) -> tuple[np.ndarray, Grid, Glyphs]:
        tile_1CHW = paint_squashed(document, TILE_PX).transpose(2, 0, 1)[None]
        squash = TILE_PX / document.size_px.width, TILE_PX / document.size_px.height
        return tile_1CHW, ONE_TILE, document.glyphs().placed(*squash)

    def _view_of(self, rng: np.random.Generator, document: Document) -> tuple[np.ndarray, Grid, Glyphs]:
        """The global view or, as often, a tile that shows something."""
        is_global = rng.random() < GLOBAL_SHARE
        budgets = [budget for budget in self.config.budgets if not is_global or budget <= LARGEST_GLOBAL_BUDGET]
        plan = plan_tiles(document.size_px, int(rng.choice(budgets)))
        views = view_glyphs(document.glyphs(), plan)
        centres = [((each.boxes[:, :2] + each.boxes[:, 2:]) / 2 // TILE_PX == 0).all(1).any() for each in views[1:]]
        if is_global or not any(centres):
            return cut_tiles(resize_and_pad(paint(document), plan), plan), plan.grid, views[0]
        index = int(rng.choice(np.flatnonzero(centres)))
        return _paint_tile(document, plan, *divmod(index, plan.grid.cols))[None], ONE_TILE, views[index + 1]


def _views(tiles_NCHW: Tensor, grids: Sequence[Grid]) -> Tensor:
    """uint8 tiles of all examples -> normalised views [len(grids), 3, 336, 336]: the global view of each one's tiles.

    Of one tile alone that is the tile itself. Made on the device: a batch on its way there is a quarter as large in uint8.
    """
    per_view = zip(tiles_NCHW.split([grid.rows * grid.cols for grid in grids]), grids, strict=True)
    return torch.cat(
        [normalise(each) if grid == ONE_TILE else make_views(each, grid, torch.float32)[:1] for each, grid in per_view]
    )


def _paint_tile(document: Document, plan: TilePlan, row: int, col: int) -> np.ndarray:
    """One tile, uint8 [3, 336, 336], as the plan cuts it, but without resizing all the others."""
    scale_x = document.size_px.width / plan.resized_px.width
    scale_y = document.size_px.height / plan.resized_px.height
    left, top = (col * TILE_PX - plan.padding_px.left) * scale_x, (row * TILE_PX - plan.padding_px.top) * scale_y
    width, height = TILE_PX * scale_x, TILE_PX * scale_y
    margin = math.ceil(max(0, -left, -top, left + width - document.size_px.width, top + height - document.size_px.height)) + 1
    image = ImageOps.expand(Image.fromarray(paint(document)), margin, (255, 255, 255))
    box = (left + margin, top + margin, left + width + margin, top + height + margin)
    tile_HWC = np.asarray(image.resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC, box=box))
    return np.ascontiguousarray(tile_HWC.transpose(2, 0, 1))
