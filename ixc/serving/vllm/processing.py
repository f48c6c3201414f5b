"""What vLLM asks of a model that sees images: how many tokens, which tensors, where in the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from vllm.config.multimodal import MultiModalDummyOptions
from vllm.inputs import MultiModalDataDict
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.media import MediaWithBytes
from vllm.multimodal.parse import ImageProcessorItems, ModalityDataItems, MultiModalDataItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    ProcessorInputs,
    PromptReplacement,
    PromptUpdate,
)
from vllm.transformers_utils.repo_utils import get_non_weight_snapshot_path

from ixc.conversation import IMAGE_MARKER
from ixc.errors import BudgetOutOfRange, ImageError
from ixc.imaging.decode import decode_image
from ixc.models.checkpoints import load_processor
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ImageProcessor, XComposer2Processor
from ixc.serving.openai_request import MAX_IMAGES
from ixc.serving.vllm.media import ImageRefused, server_settings
from ixc.settings import Settings
from ixc.tiling import TILE_PX, Grid

_BUDGET = "max_patches"


class BudgetRefused(BudgetOutOfRange, ValueError):
    """As its base; also what vLLM answers with status 400."""


class UploadedImages(ImageProcessorItems):
    """Images with the bytes they came in, so that the project's decoder reads them and not vLLM's."""

    def _unwrap(self, item: object) -> object:
        return item


class UploadParser(MultiModalDataParser):
    """Keeps the bytes of images, and takes no ready-made embeddings."""

    def _parse_image_data(self, data: object) -> ModalityDataItems | None:
        if self.is_embeddings(data):
            raise ImageRefused("Give images themselves, not their embeddings.")
        items = super()._parse_image_data(data)
        return items if items is None else UploadedImages(items.data)


class ImageInfo(BaseProcessingInfo):
    """The checkpoint's image processor, and the limits of this server."""

    def get_hf_config(self) -> XComposer2Config:
        return self.ctx.get_hf_config(XComposer2Config)

    def get_data_parser(self) -> UploadParser:
        return UploadParser()

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """vLLM refuses a conversation with more. It would not do with images whose turns a prompt leaves out."""
        return {"image": 1 if self._processor.sees_one_image else MAX_IMAGES}

    @property
    def image_processor(self) -> XComposer2ImageProcessor:
        return self._processor.image_processor

    @property
    def _processor(self) -> XComposer2Processor:
        return _processor(self.ctx.model_config.model, self.ctx.model_config.revision)

    @property
    def settings(self) -> Settings:
        return server_settings()

    @property
    def largest_grid(self) -> Grid:
        """Of the image with the most tokens among those that are served and fit the context."""
        limit, count = self.settings.max_patches_limit, self.image_processor.num_visual_tokens
        grids = [Grid(rows, cols) for rows in range(1, limit + 1) for cols in range(1, limit // rows + 1)]
        fitting = [grid for grid in grids if count(grid) <= self.ctx.model_config.max_model_len]
        return max(fitting, key=count, default=Grid(1, 1))

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        return {"image": self.image_processor.num_visual_tokens(self.largest_grid)}

    def budget(self, kwargs: Mapping[str, object]) -> int:
        """``max_patches`` of a request, of the server's ``--mm-processor-kwargs``, or the checkpoint's own within the limit.

        Raises BudgetRefused for a budget out of range and for any other argument.
        """
        merged = self.ctx.get_merged_mm_kwargs(kwargs)
        budget, limit = merged.pop(_BUDGET, None), self.settings.max_patches_limit
        if merged:
            raise BudgetRefused(f"mm_processor_kwargs may hold {_BUDGET} only; leave {', '.join(sorted(merged))} out.")
        if budget is None:
            return min(self.image_processor.max_patches, limit)
        if not isinstance(budget, int) or isinstance(budget, bool) or not 1 <= budget <= limit:
            raise BudgetRefused(f"{_BUDGET} must be a whole number from 1 to {limit}.")
        return budget


class ImageProfile(BaseDummyInputsBuilder[ImageInfo]):
    """The largest input, by which vLLM measures the memory it needs."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return IMAGE_MARKER * mm_counts.get("image", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, MultiModalDummyOptions]
    ) -> MultiModalDataDict:
        grid, num_images = self.info.largest_grid, mm_counts.get("image", 0)
        return {"image": self._get_dummy_images(width=grid.cols * TILE_PX, height=grid.rows * TILE_PX, num_images=num_images)}


class PromptProcessor(BaseMultiModalProcessor[ImageInfo]):
    """Cuts a request's images by its budget and gives each placeholder in the prompt its number of visual tokens."""

    def get_dummy_inputs(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, MultiModalDummyOptions]
    ) -> ProcessorInputs:
        """The largest image at the budget that makes it so, which the checkpoint's own need not be."""
        inputs = super().get_dummy_inputs(seq_len, mm_counts, mm_options)
        grid = self.info.largest_grid
        return replace(inputs, hf_processor_mm_kwargs={_BUDGET: grid.rows * grid.cols})

    def _apply_hf_processor_main(self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]) -> BatchFeature:
        budget = self.info.budget(hf_kwargs)
        images = mm_items.get("image", ())
        if not len(images):
            return BatchFeature()
        pixels = [_pixels(item, self.info.settings) for item in images.get_all()]
        return self.info.image_processor(pixels, max_patches=budget)

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        grids = hf_inputs.get("image_grids", torch.empty((0, 2), dtype=torch.long))
        return {
            "tiles": MultiModalFieldConfig.flat_from_sizes("image", grids.prod(dim=-1)),
            "image_grids": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        placeholder = self.info.get_hf_config().image_token_id

        def visual_tokens(index: int) -> list[int]:
            rows, cols = out_mm_kwargs["image"][index]["image_grids"].data.tolist()
            return [placeholder] * self.info.image_processor.num_visual_tokens(Grid(rows, cols))

        return [PromptReplacement(modality="image", target=[placeholder], replacement=visual_tokens)]


def _pixels(item: object, settings: Settings) -> np.ndarray:
    """RGB [H, W, 3] uint8 of whatever vLLM hands on. Raises ImageRefused."""
    if isinstance(item, MediaWithBytes):
        try:
            return decode_image(item.original_bytes, settings.images).pixels_HWC
        except ImageError as error:
            raise ImageRefused(str(error)) from error
    if isinstance(item, Image.Image):
        return np.asarray(item.convert("RGB"))
    array = np.asarray(item)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ImageRefused("An image given as an array must be RGB, height x width x 3, in whole numbers from 0 to 255.")
    return array


@lru_cache(maxsize=1)
def _processor(model: str, revision: str | None) -> XComposer2Processor:
    folder = Path(get_non_weight_snapshot_path(model, revision=revision))
    config = XComposer2Config.from_pretrained(folder)
    processor = load_processor(folder, config)
    processor.image_processor.is_exact = server_settings().resize == "exact"
    return processor
