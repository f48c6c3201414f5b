"""Vision tower and projector learn to emit the codes of the characters they look at.

Paper: pre-training, with the language model frozen; here it is not even there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ixc.imaging.resize import cut_tiles, resize_and_pad
from ixc.models.xcomposer2.vision import make_views, merge_patches, normalise
from ixc.tiling import TILE_PX, TOKENS_PER_SIDE, plan_tiles
from ixc.training.cells import EMPTY, NUM_CLASSES, cell_targets, patch_targets, view_boxes
from ixc.training.fonts import FontFile, training_fonts
from ixc.training.layout import Document, lay_out_page, lay_out_sign
from ixc.training.painting import paint, paint_squashed
from ixc.training.stages import Batch, Kit, bfloat16, generator_for
from ixc.training.wording import Split

TRAINED = ("vit.", "vision_proj.", "plora_")
GLOBAL_SHARE = 0.6
"""Share of global views among the views of signs; a global view shows the whole line at every budget."""


class VisionStage:
    """Single views, dense pages first and more and more signs; the loss is the codebook's and that of a head on patches.

    The patch head names the character that a 14 px patch shows a part of. It is easier to learn than the ordered contents of
    a cell, comes before it, and is thrown away after this stage.
    """

    name = "vision"

    def __init__(self, kit: Kit, fonts: Sequence[FontFile] | None = None) -> None:
        self._kit = kit
        self.config = kit.config.vision
        self._fonts = fonts or training_fonts()
        self.extra = nn.Linear(kit.model.config.vision_config.hidden_size, NUM_CLASSES)
        nn.init.zeros_(self.extra.weight)
        nn.init.zeros_(self.extra.bias)

    def learning_rate_scale(self, name: str) -> float:
        return 1.0 if name.startswith((*TRAINED, "extra.")) else 0.0

    def make_batch(self, step: int) -> Batch:
        first, last = self.config.page_share
        page_share = first + (last - first) * step / self.config.num_steps
        rngs = (generator_for(self._kit.config.seed, self.name, step, row) for row in range(self.config.batch_size))
        views, targets, patches = zip(*(self._example(rng, page_share) for rng in rngs), strict=True)
        return {
            "views": torch.stack(views),
            "targets": torch.from_numpy(np.stack(targets)),
            "patches": torch.from_numpy(np.stack(patches)),
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        model, codebook = self._kit.model, self._kit.codebook
        with bfloat16(model):
            feat_NPD = model.vit(batch["views"])
            patch_logits_NPV = F.linear(feat_NPD, self.extra.weight, self.extra.bias)
            tokens_NTTD = model.vision_proj(merge_patches(feat_NPD))
            ends = model.vision_proj(torch.cat((model.plora_sub_GN.view(1, -1), model.plora_glb_GN.view(1, -1))))
        loss, metrics = codebook.loss(tokens_NTTD, batch["targets"])
        end_codes = torch.stack((codebook.newline_D, codebook.separator_D))
        ends_loss = (ends.float() - end_codes).square().mean()
        patch_loss, metrics["patches_right"] = self._patch_loss(patch_logits_NPV.float(), batch["patches"].flatten(1))
        return loss + ends_loss + self.config.patch_weight * patch_loss, metrics

    def _patch_loss(self, logits_NPV: Tensor, targets_NP: Tensor) -> tuple[Tensor, float]:
        """Cross-entropy, written and empty patches apart; and the share of written patches that are named rightly."""
        each_NP = F.cross_entropy(logits_NPV.transpose(1, 2), targets_NP, reduction="none")
        is_written = targets_NP > EMPTY
        right = (logits_NPV.detach().argmax(-1) == targets_NP)[is_written].float().mean()
        empty = each_NP[~is_written].sum() / (~is_written).sum().clamp(min=1)
        return each_NP[is_written].sum() / is_written.sum() + 0.5 * empty, float(right)

    def _example(self, rng: np.random.Generator, page_share: float) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """One normalised view [3, 336, 336], its cells' targets [12, 12, K] and its patches' [24, 24]."""
        if rng.random() < page_share:
            view, text, boxes = self._page(lay_out_page(rng, self._fonts, self.config.page_advance_px))
        else:
            view, text, boxes = self._view_of_sign(rng, lay_out_sign(rng, self._fonts, Split.TRAINING))
        cells = cell_targets(text, boxes, self._kit.config.num_slots, TOKENS_PER_SIDE, TOKENS_PER_SIDE)
        return view, cells, patch_targets(text, boxes)

    def _page(self, document: Document) -> tuple[Tensor, str, np.ndarray]:
        pixels_HWC = paint_squashed(document, TILE_PX)
        squash = np.array([TILE_PX / document.size_px.width, TILE_PX / document.size_px.height] * 2, np.float32)
        tile_1CHW = torch.from_numpy(np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1)))[None]
        view = normalise(tile_1CHW)[0]
        return view, document.characters(), document.boxes() * squash

    def _view_of_sign(self, rng: np.random.Generator, document: Document) -> tuple[Tensor, str, np.ndarray]:
        """The global view or, as often, a tile that shows text."""
        plan = plan_tiles(document.size_px, int(rng.choice(self.config.budgets)))
        tiles = torch.from_numpy(cut_tiles(resize_and_pad(paint(document), plan), plan))
        boxes = view_boxes(document.boxes(), plan)
        centres = [((each[:, :2] + each[:, 2:]) / 2 // TILE_PX == 0).all(1).any() for each in boxes[1:]]
        if rng.random() < GLOBAL_SHARE or not any(centres):
            return make_views(tiles, plan.grid, torch.float32)[0], document.text, boxes[0]
        index = int(rng.choice(np.flatnonzero(centres)))
        return normalise(tiles[index : index + 1])[0], document.text, boxes[index + 1]
