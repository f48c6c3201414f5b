"""Does a model fit a Space's hardware? Counted from its configuration, without downloading or running anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import init_empty_weights
from transformers import PreTrainedModel

from ixc.chat.costs import CostModel, kv_bytes_per_token
from ixc.chat.loading import VIEWS_PER_PASS, prefill_chunk_tokens, static_capacity
from ixc.chat.static_decode import has_static_step
from ixc.hosting.space.hardware import ZERO_GPU_CHUNK_TOKENS, Hardware, Kind
from ixc.image_layout import LayoutKind
from ixc.models.checkpoints import load_processor, read_config
from ixc.models.families import family_of_config
from ixc.models.inf_llava import InfLlavaConfig, InfLlavaImageProcessor
from ixc.models.precision import Precision, load_dtype
from ixc.models.presets import PRESETS, ModelPreset
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ImageProcessor
from ixc.tiling import SizePx

_GIGABYTE = 1e9
_TEXT_TOKENS = 512
"""System prompt and question."""
_TALL_IMAGE = SizePx(height=33600, width=336)
"""A column of tiles has the most newline tokens, so that no image costs more."""
_RUNTIME_GB = {Kind.CPU: 2.5, Kind.GPU: 1.0, Kind.ZERO: 1.0}
"""Python and its libraries on a CPU machine; the CUDA context and the allocator's slack on a GPU."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """For the first question about the costliest image at the model's default budget; bytes."""

    weights: int
    question: int
    runtime: int
    decoding: int
    """The fixed buffers of a GPU's decoding, made when the model is loaded: keys and values of as long a conversation as it
    takes, or an eighth of what the weights leave free."""
    max_patches: int

    @property
    def total_gb(self) -> float:
        return (self.weights + self.question + self.runtime + self.decoding) / _GIGABYTE


def memory_need(preset: ModelPreset, hardware: Hardware) -> MemoryNeed | None:
    """None for a model whose configuration is not known here. Raises CheckpointError for a damaged local folder."""
    config = _config(preset)
    if config is None:
        return None
    with init_empty_weights():
        model = family_of_config(config).model_class(config)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    device = torch.device("cpu" if hardware.kind is Kind.CPU else "cuda")
    # A GPU takes 16 bits, in which format is its own affair, and it cannot be asked from here.
    precision = Precision.AUTO if hardware.kind is Kind.CPU else Precision.BF16
    model.to(load_dtype(precision, device, num_parameters))
    # A GPU's room is not known before the weights are there: counted as if it took whole prompts, the costliest way.
    chunk_tokens = ZERO_GPU_CHUNK_TOKENS if hardware.kind is Kind.ZERO else prefill_chunk_tokens(device, None)
    costs = CostModel(model, prefill_chunk_tokens=chunk_tokens, views_per_pass=VIEWS_PER_PASS[device.type])
    processor = _image_processor(preset, config)
    plan = processor.plan(_TALL_IMAGE, processor.max_patches)
    question = costs.estimate(plan, _TEXT_TOKENS).memory_bytes
    is_own_gpu = hardware.kind is Kind.GPU  # a lent one decodes without such buffers, as a CPU does
    runtime = int(_RUNTIME_GB[hardware.kind] * _GIGABYTE)
    weights = num_parameters * model.dtype.itemsize
    decoding = _decoding_bytes(model, int(hardware.memory_gb * _GIGABYTE) - weights - runtime) if is_own_gpu else 0
    return MemoryNeed(weights, question, runtime, decoding, processor.max_patches)


def _decoding_bytes(model: PreTrainedModel, free_bytes: int) -> int:
    if not has_static_step(model):
        return 0
    return static_capacity(model, max(free_bytes, 0)) * kv_bytes_per_token(model.config, model.dtype)


def _image_processor(
    preset: ModelPreset, config: XComposer2Config | InfLlavaConfig
) -> XComposer2ImageProcessor | InfLlavaImageProcessor:
    """With the model's own default budget."""
    if not isinstance(preset.source, str):
        return load_processor(preset.source, config).image_processor
    if isinstance(config, InfLlavaConfig):
        return InfLlavaImageProcessor()
    return XComposer2ImageProcessor(img_size=config.img_size)


def _config(preset: ModelPreset) -> XComposer2Config | InfLlavaConfig | None:
    """Of a local folder its own, of the released models the class's defaults."""
    if not isinstance(preset.source, str):
        return read_config(preset.source)
    if preset not in PRESETS.values():
        return None
    match preset.layout.kind:
        case LayoutKind.DUAL_PERSPECTIVE:
            return InfLlavaConfig()
        case LayoutKind.SINGLE_VIEW:
            return XComposer2Config(img_size=preset.layout.view_px)
        case LayoutKind.DYNAMIC_PARTITION:
            return XComposer2Config()
