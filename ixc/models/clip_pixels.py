"""Pixels as CLIP was trained on them; shared by all models here."""

from __future__ import annotations

import torch
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(pixels_NCHW: Tensor) -> Tensor:
    """uint8 RGB -> float32 with CLIP's mean and standard deviation, on the pixels' device."""
    mean, std = (torch.tensor(v, device=pixels_NCHW.device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    # In place: each copy of a large image's tiles takes longer than the arithmetic.
    return pixels_NCHW.to(torch.float32, copy=True).div_(255).sub_(mean).div_(std)
