"""From a padded square of uint8 pixels to the features of its views, before enhancement.

Semantics: reference/inf_llava/README.md, "Image path, as released".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from ixc.models.inf_llava.cropping import crop_blocks, crop_strided


class VisionTower(nn.Module):
    """CLIP's vision transformer up to its last layer but one. The nesting of names is the official checkpoint's."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.vision_tower = nn.ModuleDict({"vision_model": CLIPVisionModel(config)})

    @property
    def clip(self) -> CLIPVisionModel:
        return self.vision_tower["vision_model"]

    def forward(self, views_NCHW: Tensor) -> Tensor:
        """Normalised views [N, 3, 336, 336] -> patch features [N, 576, width]: ``hidden_states[-2]``, CLS dropped.

        The last layer and the final norm are in the checkpoint and have no part in it.
        """
        clip = self.clip
        hidden = clip.pre_layrnorm(clip.embeddings(views_NCHW))
        for layer in clip.encoder.layers[:-1]:
            hidden = layer(hidden, attention_mask=None)
        return hidden[:, 1:]


def make_views(square_BCHW: Tensor, n: int, view_px: int, *, all_views: bool) -> Tensor:
    """The normalised square [B, 3, side, side] in float32 -> views [V, B, 3, view_px, view_px].

    The N*N blocks, then with ``all_views`` the N*N strided sub-images, then the whole square at low resolution; the square is
    first resized to N*view_px, bicubic without antialiasing.
    """
    side_px = n * view_px
    large = F.interpolate(square_BCHW, (side_px, side_px), mode="bicubic", align_corners=False)
    small = F.interpolate(square_BCHW, (view_px, view_px), mode="bicubic", align_corners=False)
    strided = [crop_strided(large, n)] if all_views else []
    return torch.cat((crop_blocks(large, n), *strided, small[None]))
