"""Does a model fit a Space's hardware? Counted from its configuration, without downloading or running anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import init_empty_weights

from ixc.chat.costs import CostModel
from ixc.hosting.hardware import Hardware, Kind
from ixc.image_layout import LayoutKind
from ixc.models.checkpoints import load_processor, read_config
from ixc.models.precision import Precision, load_dtype
from ixc.models.presets import PRESETS, ModelPreset
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ForCausalLM, XComposer2ImageProcessor
from ixc.tiling import SizePx

_GIGABYTE = 1e9
_TEXT_TOKENS = 512
"""System prompt, question and a first answer."""
_TALL_IMAGE = SizePx(height=33600, width=336)
"""A column of tiles has the most newline tokens, so that no image costs more."""
_VIEWS_PER_PASS = {Kind.CPU: 4, Kind.GPU: 16, Kind.ZERO: 16}
_CHUNK_TOKENS = {Kind.CPU: 512, Kind.GPU: 16384, Kind.ZERO: 2048}
_RUNTIME_GB = {Kind.CPU: 2.5, Kind.GPU: 1.0, Kind.ZERO: 1.0}
"""Python and its libraries on a CPU machine; the CUDA context and the allocator's slack on a GPU."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """For the first question about the costliest image at the model's default budget; bytes."""

    weights: int
    question: int
    runtime: int
    max_patches: int

    @property
    def total_gb(self) -> float:
        return (self.weights + self.question + self.runtime) / _GIGABYTE


def memory_need(preset: ModelPreset, hardware: Hardware) -> MemoryNeed | None:
    """None for a model whose configuration is not known here. Raises CheckpointError for a damaged local folder."""
    config = _config(preset)
    if config is None:
        return None
    with init_empty_weights():
        model = XComposer2ForCausalLM(config)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    device = torch.device("cpu" if hardware.kind is Kind.CPU else "cuda")
    model.to(load_dtype(Precision.AUTO, device, num_parameters))
    costs = CostModel(model, prefill_chunk_tokens=_CHUNK_TOKENS[hardware.kind], views_per_pass=_VIEWS_PER_PASS[hardware.kind])
    processor = _image_processor(preset, config)
    plan = processor.plan(_TALL_IMAGE, processor.max_patches)
    question = costs.memory_bytes(plan.num_visual_tokens + _TEXT_TOKENS, plan.num_visual_tokens, plan.num_tiles)
    runtime = int(_RUNTIME_GB[hardware.kind] * _GIGABYTE)
    return MemoryNeed(num_parameters * model.dtype.itemsize, question, runtime, processor.max_patches)


def _image_processor(preset: ModelPreset, config: XComposer2Config) -> XComposer2ImageProcessor:
    """With the model's own default budget."""
    if not isinstance(preset.source, str):
        return load_processor(preset.source, config).image_processor
    return XComposer2ImageProcessor(img_size=config.img_size)


def _config(preset: ModelPreset) -> XComposer2Config | None:
    """Of a local folder its own, of the released 7B models the class's defaults."""
    if not isinstance(preset.source, str):
        return read_config(preset.source)
    if preset not in PRESETS.values() or not preset.source.startswith("internlm/"):
        return None
    if preset.layout.kind is LayoutKind.SINGLE_VIEW:
        return XComposer2Config(img_size=preset.layout.view_px)
    return XComposer2Config()
