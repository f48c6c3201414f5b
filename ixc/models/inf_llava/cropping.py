"""Dual-perspective cropping: the same square as N x N contiguous blocks and as N x N strided sub-images, and both put back.

Source: reference/inf_llava/README.md; arXiv 2407.16198, section 3.2. Letters: B batch, C channels, H W pixels or patches, N
parts per side; the parts stand in row-major order in the first dimension.
"""

from __future__ import annotations

from torch import Tensor


def crop_blocks(image_BCHW: Tensor, n: int) -> Tensor:
    """[B, C, H, W] -> contiguous blocks [n*n, B, C, H/n, W/n]: the local perspective."""
    batch, channels, height, width = image_BCHW.shape
    parts = image_BCHW.view(batch, channels, n, height // n, n, width // n)
    return parts.permute(2, 4, 0, 1, 3, 5).reshape(n * n, batch, channels, height // n, width // n)


def crop_strided(image_BCHW: Tensor, n: int) -> Tensor:
    """[B, C, H, W] -> strided sub-images [n*n, B, C, H/n, W/n], part i*n + j = rows i::n, columns j::n: the global one."""
    batch, channels, height, width = image_BCHW.shape
    parts = image_BCHW.view(batch, channels, height // n, n, width // n, n)
    return parts.permute(3, 5, 0, 1, 2, 4).reshape(n * n, batch, channels, height // n, width // n)


def combine_blocks(parts_NBHWD: Tensor, n: int) -> Tensor:
    """Inverse of ``crop_blocks`` on maps with channels last: [n*n, B, h, w, D] -> [B, n*h, n*w, D]."""
    _, batch, height, width, channels = parts_NBHWD.shape
    parts = parts_NBHWD.view(n, n, batch, height, width, channels)
    return parts.permute(2, 0, 3, 1, 4, 5).reshape(batch, n * height, n * width, channels)


def combine_strided(parts_NBHWD: Tensor, n: int) -> Tensor:
    """Inverse of ``crop_strided`` on maps with channels last: [n*n, B, h, w, D] -> [B, n*h, n*w, D]."""
    _, batch, height, width, channels = parts_NBHWD.shape
    parts = parts_NBHWD.view(n, n, batch, height, width, channels)
    return parts.permute(2, 3, 0, 4, 1, 5).reshape(batch, n * height, n * width, channels)
