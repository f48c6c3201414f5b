"""From uint8 tiles to the features of an image's visual tokens, before the projector.

Semantics: reference/ixc2_4khd/README.md, "Vision tower"; arXiv 2404.06512, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from ixc.models.clip_pixels import normalise
from ixc.tiling import TILE_PX, TOKENS_PER_SIDE, Grid

VISION_CHUNK_VIEWS = 16
"""Views per pass of the vision tower; bounds its memory."""


class VisionTower(nn.Module):
    """CLIP's vision transformer, without the final norm that the released checkpoint leaves out.

    The nesting of names is the official checkpoint's.
    """

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        clip = CLIPVisionModel(config)
        clip.post_layernorm = nn.Identity()
        self.vision_tower = nn.ModuleDict({"vision_model": clip})

    @property
    def clip(self) -> CLIPVisionModel:
        return self.vision_tower["vision_model"]

    def forward(self, views_NCHW: Tensor) -> Tensor:
        """Normalised views [N, 3, 336, 336] -> patch features [N, 576, width]: the last layer's output, CLS dropped."""
        return self.clip(views_NCHW).last_hidden_state[:, 1:]


def make_views(tiles_NCHW: Tensor, grid: Grid, dtype: torch.dtype) -> Tensor:
    """uint8 tiles [rows*cols, 3, 336, 336] -> normalised views [rows*cols + 1, 3, 336, 336], the global view first.

    The global view is the whole padded, already normalised image, resized bicubically without antialiasing, its aspect ratio
    not kept. Runs on the tiles' device; float32 inside. Raises ValueError when tiles and grid disagree.
    """
    if tiles_NCHW.shape[0] != grid.rows * grid.cols:
        raise ValueError(f"{tiles_NCHW.shape[0]} tiles do not fill a grid of {grid.rows} x {grid.cols}")
    tiles_NCHW = normalise(tiles_NCHW)
    padded = tiles_NCHW.view(grid.rows, grid.cols, 3, TILE_PX, TILE_PX).permute(2, 0, 3, 1, 4)
    padded_1CHW = padded.reshape(1, 3, grid.rows * TILE_PX, grid.cols * TILE_PX)
    global_1CHW = F.interpolate(padded_1CHW, (TILE_PX, TILE_PX), mode="bicubic", align_corners=False)
    return torch.cat((global_1CHW, tiles_NCHW)).to(dtype)


def merge_patches(feat_NPD: Tensor) -> Tensor:
    """2x2 neighbouring patches concatenated along channels: [N, 576, D] -> [N, 12, 12, 4*D]."""
    num_views, _, width = feat_NPD.shape
    feat = feat_NPD.view(num_views, TOKENS_PER_SIDE, 2, TOKENS_PER_SIDE, 2, width)
    return feat.permute(0, 1, 3, 2, 4, 5).reshape(num_views, TOKENS_PER_SIDE, TOKENS_PER_SIDE, 4 * width)


def lay_out_tokens(feat_NTTE: Tensor, grid: Grid, newline_E: Tensor, separator_E: Tensor) -> Tensor:
    """Views' features -> one image's sequence [num_visual_tokens, E], in the order of ``TilePlan``.

    Global rows, separator, local rows; a newline ends every row. Tiles are first put together to one map, so that a local row
    runs over all tiles of its grid row.
    """
    width = feat_NTTE.shape[-1]
    local = feat_NTTE[1:].view(grid.rows, grid.cols, TOKENS_PER_SIDE, TOKENS_PER_SIDE, width).transpose(1, 2)
    local_HWE = local.reshape(grid.rows * TOKENS_PER_SIDE, grid.cols * TOKENS_PER_SIDE, width)
    return torch.cat(
        (_end_rows(feat_NTTE[0], newline_E), separator_E.view(1, width).to(feat_NTTE), _end_rows(local_HWE, newline_E))
    )


def _end_rows(map_HWE: Tensor, newline_E: Tensor) -> Tensor:
    rows, _, width = map_HWE.shape
    newlines = newline_E.to(map_HWE).view(1, 1, width).expand(rows, 1, width)
    return torch.cat((map_HWE, newlines), dim=1).view(-1, width)


class ImageEncoding:
    """From an image's tiles to its embeddings, for every model that has a config, a dtype and the parts ``vit``,

    ``vision_proj``, ``plora_sub_GN`` (newline) and ``plora_glb_GN`` (separator; both None without tiles).
    """

    def make_views(self, tiles_NCHW: Tensor, grid: Grid) -> Tensor:
        """One image's uint8 tiles -> normalised views for the vision tower, the global view first (VL: its only view)."""
        if self.config.is_tiled:
            return make_views(tiles_NCHW, grid, self.dtype)
        return normalise(tiles_NCHW).to(self.dtype)

    def encode_views(self, views_NCHW: Tensor) -> Tensor:
        """Normalised views -> features [N, 12, 12, E] (VL: [1, 1225, E]); one pass of the vision tower."""
        feat_NPD = self.vit(views_NCHW)
        return merge_patches(feat_NPD) if self.config.is_tiled else feat_NPD

    def lay_out(self, feat_NTTE: Tensor, grid: Grid) -> Tensor:
        """Features of one image's views -> its tokens [num_visual_tokens, E]; tiles get newlines and the separator."""
        if self.config.is_tiled:
            return lay_out_tokens(feat_NTTE, grid, self.plora_sub_GN, self.plora_glb_GN)
        return feat_NTTE[0]

    def vision_features(self, tiles_NCHW: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
        """uint8 tiles of all images, concatenated -> per image its token features [num_visual_tokens, E]."""
        per_image = tiles_NCHW.split([grid.rows * grid.cols for grid in grids])
        views = [self.make_views(tiles, grid) for tiles, grid in zip(per_image, grids, strict=True)]
        features = torch.cat([self.encode_views(chunk) for chunk in torch.cat(views).split(VISION_CHUNK_VIEWS)])
        split = features.split([len(image_views) for image_views in views])
        return [self.lay_out(feat, grid) for feat, grid in zip(split, grids, strict=True)]

    def encode_images(self, tiles_NCHW: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
        """uint8 tiles of all images, concatenated -> per image its embeddings [num_visual_tokens, D]."""
        return [self.vision_proj(feat) for feat in self.vision_features(tiles_NCHW, grids)]
