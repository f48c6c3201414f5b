"""InternLM-XComposer2 as vLLM runs it: the project's vision part before vLLM's language model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import MultiModalEmbeddings, SupportsMultiModal
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.sequence import IntermediateTensors

from ixc.conversation import IMAGE_MARKER
from ixc.models.xcomposer2 import XComposer2Config
from ixc.models.xcomposer2.vision import ImageEncoding, VisionTower
from ixc.serving.vllm.language import PLoRAInternLM2
from ixc.serving.vllm.processing import ImageInfo, ImageProfile, PromptProcessor
from ixc.tiling import Grid


@MULTIMODAL_REGISTRY.register_processor(PromptProcessor, info=ImageInfo, dummy_inputs=ImageProfile)
class XComposer2ForVllm(ImageEncoding, nn.Module, SupportsMultiModal):
    """4KHD, or the single-view VL model by its config. Not split over pipeline stages: later ones would not see the ids."""

    requires_raw_input_tokens = True
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={"model.": "language_model.model.", "output.": "language_model.output."}
    )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """What stands for an image in a prompt given as a text."""
        if modality != "image":
            raise ValueError(f"This model sees images only; leave the {modality} out.")
        return IMAGE_MARKER

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: XComposer2Config = vllm_config.model_config.hf_config
        self.config = config
        self.dtype = vllm_config.model_config.dtype
        width_E = config.visual_width
        with self._mark_tower_model(vllm_config, "image"):
            self.vit = VisionTower(config.vision_config)
            self.vision_proj = nn.Sequential(
                nn.Linear(width_E, config.hidden_size), nn.GELU(), nn.Linear(config.hidden_size, config.hidden_size)
            )
        self.plora_glb_GN = nn.Parameter(torch.zeros(1, 1, width_E)) if config.is_tiled else None
        self.plora_sub_GN = nn.Parameter(torch.zeros(1, 1, 1, width_E)) if config.is_tiled else None
        with self._mark_language_model(vllm_config):
            self.language_model = PLoRAInternLM2(vllm_config=vllm_config, prefix=maybe_prefix(prefix, "language_model"))

    def embed_multimodal(
        self, tiles: Tensor | None = None, image_grids: Tensor | None = None, **_: object
    ) -> MultiModalEmbeddings:
        """uint8 tiles of all images and their (rows, cols) -> per image its embeddings [num_visual_tokens, D]."""
        if tiles is None or image_grids is None:
            return []
        return self.encode_images(tiles, [Grid(rows, cols) for rows, cols in image_grids.tolist()])

    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **_: object,
    ) -> Tensor:
        """[S] ids and, of those, the embeddings [S, D] with the images' in place -> [S, D]."""
        return self.language_model.model(input_ids, positions, intermediate_tensors, inputs_embeds)

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        return self.language_model.compute_logits(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """From a checkpoint of the official names; returns the parameters that were filled."""
        return AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)

    def get_mm_mapping(self) -> MultiModelKeys:
        return MultiModelKeys.from_string_field(language_model="language_model", connector="vision_proj", tower_model="vit")
