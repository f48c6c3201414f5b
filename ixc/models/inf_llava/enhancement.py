"""Dual-perspective enhancement: local and global feature maps attend to each other and are fused to one 24x24 map.

Semantics as released (reference/inf_llava/README.md, "DEM"), which differ from the paper's formulas: the croppings inside are
exchanged, one attention block serves both directions, and the fused map is resized bilinearly, which at N = 3 takes one point
in nine. Letters: B batch, D width, N parts per side, G = 24 patches per side of a view, P = G*G.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ixc.models.inf_llava.cropping import combine_blocks, combine_strided

_LAYER_NORM_EPS = 1e-5


class AttentionBlock(nn.Module):
    """LayerNorm(q + Attention(q, kv)): 8 heads, biases everywhere, the raw query as residual. Names are the checkpoint's."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        """Query, key, value, output."""
        self.ln = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)

    def forward(self, query_BQD: Tensor, context_BKD: Tensor) -> Tensor:
        """Queries [B, Q, D] look at [B, K, D] -> [B, Q, D]."""
        query, key, value = (
            linear(source).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for linear, source in zip(self.linears, (query_BQD, context_BKD, context_BKD), strict=False)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self.ln(self.linears[3](attended) + query_BQD)


class DualPerspectiveEnhancement(nn.Module):
    """The released module ``spatial_embed`` for N x N crops of ``grid`` x ``grid`` patches."""

    def __init__(self, width: int, num_heads: int, n: int, grid: int) -> None:
        super().__init__()
        self.n, self.grid = n, grid
        self.attention = AttentionBlock(width, num_heads)
        self.ffn_crop, self.ffn_stride = (
            nn.Sequential(nn.Linear(width, width // 16), nn.GELU(), nn.Linear(width // 16, width // 2)) for _ in range(2)
        )
        self.ln_fuse = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)

    @property
    def has_short_cut(self) -> bool:
        """Whether one strided view decides: N is odd, so that the resize has whole sample points, and divides the grid."""
        return self.n % 2 == 1 and self.grid % self.n == 0

    def forward(self, local_NBPD: Tensor, strided_NBPD: Tensor) -> Tensor:
        """Features of all crops [N*N, B, P, D], twice -> fused tokens [B, P, D]. The released computation."""
        return self.reduce(self.fuse(*self.enhance(local_NBPD, strided_NBPD)))

    def enhance(self, local_NBPD: Tensor, strided_NBPD: Tensor) -> tuple[Tensor, Tensor]:
        """The two enhanced maps [B, N*G, N*G, D]: global queries on local blocks, and local queries on strided sub-grids."""
        n, local, strided = self.n, self._as_map(local_NBPD), self._as_map(strided_NBPD)
        local_map, global_map = combine_blocks(local, n), combine_strided(strided, n)
        by_block = self._attend(_block_cells(global_map, n), _block_cells(local_map, n))
        by_stride = self._attend(_strided_cells(local_map, n), _strided_cells(global_map, n))
        return combine_blocks(by_block, n), combine_strided(by_stride, n)

    def fuse(self, stride_map: Tensor, crop_map: Tensor) -> Tensor:
        """The enhanced maps [..., D] -> the fused map [..., D]."""
        joined = torch.cat((self.ffn_crop(crop_map), self.ffn_stride(stride_map)), dim=-1)
        return self.ln_fuse(joined + stride_map + crop_map)

    def reduce(self, fused_BHWD: Tensor) -> Tensor:
        """[B, N*G, N*G, D] -> [B, P, D], bilinear in float32 without antialiasing: at N = 3 the centre of every 3x3."""
        channels_first = fused_BHWD.permute(0, 3, 1, 2).float()
        resized = F.interpolate(channels_first, (self.grid, self.grid), mode="bilinear", align_corners=False)
        return resized.to(fused_BHWD.dtype).flatten(2).transpose(1, 2)

    def short_cut(self, local_NBPD: Tensor, centre_BPD: Tensor) -> Tensor:
        """The same tokens [B, P, D] from the local features and those of the centre strided view alone.

        ``reduce`` keeps the fused map's points c::N, c::N with c = N // 2. There the queries on local blocks are the centre
        view's own features, G/N x G/N of them a block, and the queries on strided sub-grids are those of one sub-grid.
        Raises ValueError without ``has_short_cut``.
        """
        if not self.has_short_cut:
            raise ValueError(f"with {self.n} cuts a side every strided view reaches the output; compute all of them")
        n, grid = self.n, self.grid
        batch, _, width = centre_BPD.shape
        local_map = combine_blocks(self._as_map(local_NBPD), n)
        sub_grid = local_map[:, n // 2 :: n, n // 2 :: n].reshape(batch, grid * grid, width)
        crop = self.attention(sub_grid, centre_BPD)
        queries = _block_cells(centre_BPD.view(batch, grid, grid, width), n).flatten(2, 3)
        stride = self.attention(queries.flatten(0, 1), local_NBPD.flatten(0, 1))
        stride_map = combine_blocks(stride.view(n * n, batch, grid // n, grid // n, width), n)
        return self.fuse(stride_map.reshape(batch, grid * grid, width), crop)

    def _as_map(self, feat_NBPD: Tensor) -> Tensor:
        return feat_NBPD.unflatten(2, (self.grid, self.grid))

    def _attend(self, query_NBHWD: Tensor, context_NBHWD: Tensor) -> Tensor:
        """The attention block on every pair of cells, one at a time: their score matrices are large."""
        rows, cols = query_NBHWD.shape[2:4]
        cells = [
            self.attention(query.flatten(1, 2), context.flatten(1, 2)).unflatten(1, (rows, cols))
            for query, context in zip(query_NBHWD, context_NBHWD, strict=True)
        ]
        return torch.stack(cells)


def _block_cells(map_BHWD: Tensor, n: int) -> Tensor:
    """[B, H, W, D] -> contiguous blocks [n*n, B, H/n, W/n, D]."""
    batch, height, width, channels = map_BHWD.shape
    cells = map_BHWD.view(batch, n, height // n, n, width // n, channels).permute(1, 3, 0, 2, 4, 5)
    return cells.reshape(n * n, batch, height // n, width // n, channels)


def _strided_cells(map_BHWD: Tensor, n: int) -> Tensor:
    """[B, H, W, D] -> strided sub-grids [n*n, B, H/n, W/n, D]."""
    batch, height, width, channels = map_BHWD.shape
    cells = map_BHWD.view(batch, height // n, n, width // n, n, channels).permute(2, 4, 0, 1, 3, 5)
    return cells.reshape(n * n, batch, height // n, width // n, channels)
