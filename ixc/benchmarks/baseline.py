"""What the official code does, on the same weights: the other side of every comparison.

Written from the reference's description, for measuring only: float tiles made on the CPU by Pillow, all views through the
vision tower in one pass, Partial LoRA by boolean gathers (also while decoding, where it gathers nothing), transformers'
``generate``, and everything again at each turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from ixc.imaging.resize import resize_and_pad
from ixc.models.clip_pixels import CLIP_MEAN, CLIP_STD
from ixc.models.onednn_linear import OneDnnLinear
from ixc.models.xcomposer2 import VisualSpans, XComposer2ForCausalLM, XComposer2Processor, language, modeling
from ixc.models.xcomposer2.language import PLoRALinear
from ixc.tiling import TILE_PX, Grid, SizePx, TilePlan, plan_tiles


@dataclass(frozen=True, slots=True)
class BaselineAnswer:
    """Times of one answer; ``decode_ms`` is from the first token to the last."""

    time_to_first_token_ms: float
    decode_ms: float
    num_new_tokens: int
    token_ids: tuple[int, ...]


def image_to_float_tiles(pixels_HWC: np.ndarray, plan: TilePlan) -> Tensor:
    """The image path of the official code: Pillow, then float32 and normalisation of the whole padded image on the CPU.

    Returns [num_tiles, 3, 336, 336] float32.
    """
    padded_CHW = torch.from_numpy(resize_and_pad(pixels_HWC, plan)).permute(2, 0, 1).float().div(255)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    padded_CHW = (padded_CHW - mean) / std
    grid = plan.grid
    tiles = padded_CHW.view(3, grid.rows, TILE_PX, grid.cols, TILE_PX).permute(1, 3, 0, 2, 4)
    return tiles.reshape(-1, 3, TILE_PX, TILE_PX).contiguous()


class BaselineChat:
    """Answers as the reference's ``chat``; keeps nothing between turns."""

    def __init__(self, model: XComposer2ForCausalLM, processor: XComposer2Processor) -> None:
        self._model = model
        self._processor = processor

    @torch.no_grad()
    def ask(
        self, parts: Sequence[str], pixels_HWC: np.ndarray, max_patches: int, *, max_new_tokens: int, num_beams: int = 1
    ) -> BaselineAnswer:
        """The prompt's two text parts around one image -> a greedy or beam answer of exactly ``max_new_tokens``."""
        clock = _FirstTokenClock()
        start_s = time.perf_counter()
        plan = plan_tiles(SizePx(*pixels_HWC.shape[:2]), max_patches)
        image_TD = self.embed_tiles(self.float_tiles(pixels_HWC, plan), plan.grid)
        pieces, is_visual = [], []
        for index, part in enumerate(parts):
            ids = torch.tensor(self._processor.tokenizer(part)["input_ids"], device=self._model.device)
            pieces.append(self._model.model.tok_embeddings(ids))
            is_visual.append(torch.zeros(len(ids), dtype=torch.bool))
            if index == 0:
                pieces.append(image_TD)
                is_visual.append(torch.ones(len(image_TD), dtype=torch.bool))
        with official_linears():
            ids = self._model.generate(
                inputs_embeds=torch.cat(pieces)[None],
                im_mask=torch.cat(is_visual)[None].to(self._model.device),
                max_new_tokens=max_new_tokens,
                min_new_tokens=max_new_tokens,
                num_beams=num_beams,
                do_sample=False,
                repetition_penalty=1.005,
                eos_token_id=self._processor.tokenizer.eos_token_id,
                pad_token_id=self._processor.tokenizer.pad_token_id,
                stopping_criteria=StoppingCriteriaList([clock]),
            )
        end_s = time.perf_counter()
        return BaselineAnswer(
            (clock.first_s - start_s) * 1000, (end_s - clock.first_s) * 1000, max_new_tokens, tuple(ids[0].tolist())
        )

    def float_tiles(self, pixels_HWC: np.ndarray, plan: TilePlan) -> Tensor:
        """Normalised float32 tiles on the model's device."""
        return image_to_float_tiles(pixels_HWC, plan).to(self._model.device)

    def embed_tiles(self, tiles: Tensor, grid: Grid) -> Tensor:
        """Normalised tiles [num_tiles, 3, 336, 336] -> visual tokens [num_visual_tokens, D], all views in one pass."""
        model = self._model
        padded = tiles.view(grid.rows, grid.cols, 3, TILE_PX, TILE_PX).permute(2, 0, 3, 1, 4)
        padded = padded.reshape(1, 3, grid.rows * TILE_PX, grid.cols * TILE_PX)
        view = torch.nn.functional.interpolate(padded, (TILE_PX, TILE_PX), mode="bicubic", align_corners=False)
        with official_linears():
            features = model.encode_views(torch.cat((view, tiles)).to(model.dtype))
            return model.vision_proj(model.lay_out(features, grid))


@contextmanager
def official_linears() -> Iterator[None]:
    """Within it linear layers and attention are PyTorch's own, and Partial LoRA works by boolean gathers."""
    with (
        patch.object(OneDnnLinear, "forward", torch.nn.Linear.forward),
        patch.object(modeling, "attends_without_mask", _never),
        patch.object(language, "attends_without_mask", _never),
        _boolean_gathers(),
    ):
        yield


def _never(*_: object) -> bool:
    return False


@contextmanager
def _boolean_gathers() -> Iterator[None]:
    """Within it every PLoRALinear works as the official one, by indexing with a boolean mask of all positions."""
    masks = _Masks()

    def forward(self: PLoRALinear, x_BSD: Tensor, spans: VisualSpans | None = None) -> Tensor:
        y_BSD = torch.nn.Linear.forward(self, x_BSD)
        mask_BS = masks.of(spans, x_BSD)
        if mask_BS.any():  # a transfer from the device at every linear, as in the official code
            y_BSD[mask_BS] += self.Plora_B(self.Plora_A(x_BSD[mask_BS])) * self.plora_scaling
        else:  # the official code adds nothing to the first row this way, to keep its gradients defined
            y_BSD[:1] += 0 * self.Plora_B(self.Plora_A(x_BSD[:1]))
        return y_BSD

    original, PLoRALinear.forward = PLoRALinear.forward, forward
    try:
        yield
    finally:
        PLoRALinear.forward = original


class _Masks:
    """The mask that the official code would have been handed: made once per forward, not at every linear."""

    def __init__(self) -> None:
        self._spans: VisualSpans | None = None
        self._mask_BS: Tensor | None = None

    def of(self, spans: VisualSpans | None, x_BSD: Tensor) -> Tensor:
        if self._mask_BS is None or self._spans is not spans or self._mask_BS.shape != x_BSD.shape[:2]:
            self._spans = spans
            self._mask_BS = torch.zeros(x_BSD.shape[:2], dtype=torch.bool, device=x_BSD.device)
            for rows, positions in spans.slices() if spans else ():
                self._mask_BS[rows, positions] = True
        return self._mask_BS


class _FirstTokenClock(StoppingCriteria):
    """Notes when the first token was chosen; stops nothing."""

    def __init__(self) -> None:
        self.first_s = 0.0

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        self.first_s = self.first_s or time.perf_counter()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
