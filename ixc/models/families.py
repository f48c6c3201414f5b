"""The architectures this program runs, and which of them a config.json means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin

from ixc.models.inf_llava import (
    InfLlavaConfig,
    InfLlavaForCausalLM,
    InfLlavaImageProcessor,
    InfLlavaProcessor,
    Llama3Tokenizer,
)
from ixc.models.inf_llava.configuration import OFFICIAL_MODEL_TYPE
from ixc.models.xcomposer2 import (
    InternLM2Tokenizer,
    XComposer2Config,
    XComposer2ForCausalLM,
    XComposer2ImageProcessor,
    XComposer2Processor,
)


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """One architecture's classes and how its official folders are laid out."""

    name: str
    model_types: tuple[str, ...]
    """What ``model_type`` in a config.json may be; the first is what this program writes."""
    config_class: type[PreTrainedConfig]
    model_class: type[PreTrainedModel]
    processor_class: type[ProcessorMixin]
    tokenizer_file: str
    make_processor: Callable[[Path, PreTrainedConfig], ProcessorMixin]
    """For the official layout, which has no processor_config.json."""


def _xcomposer2_processor(folder: Path, config: XComposer2Config) -> XComposer2Processor:
    tokenizer = InternLM2Tokenizer(str(folder / XCOMPOSER2.tokenizer_file))
    return XComposer2Processor(XComposer2ImageProcessor(img_size=config.img_size), tokenizer)


def _inf_llava_processor(folder: Path, _config: InfLlavaConfig) -> InfLlavaProcessor:
    tokenizer = Llama3Tokenizer.from_pretrained(folder, local_files_only=True)
    return InfLlavaProcessor(InfLlavaImageProcessor(), tokenizer)


XCOMPOSER2 = ModelFamily(
    "InternLM-XComposer2",
    (XComposer2Config.model_type,),
    XComposer2Config,
    XComposer2ForCausalLM,
    XComposer2Processor,
    "tokenizer.model",
    _xcomposer2_processor,
)
INF_LLAVA = ModelFamily(
    "INF-LLaVA",
    (InfLlavaConfig.model_type, OFFICIAL_MODEL_TYPE),
    InfLlavaConfig,
    InfLlavaForCausalLM,
    InfLlavaProcessor,
    "tokenizer.json",
    _inf_llava_processor,
)
FAMILIES = (XCOMPOSER2, INF_LLAVA)


def family_of_config(config: PreTrainedConfig) -> ModelFamily:
    """The family whose configuration ``config`` is. Raises KeyError."""
    return _BY_TYPE[config.model_type]


def family_of_raw_config(raw: Mapping[str, Any]) -> ModelFamily | None:
    """By the ``model_type`` of a config.json; None when no family knows it."""
    model_type = raw.get("model_type")
    return _BY_TYPE.get(model_type) if isinstance(model_type, str) else None


_BY_TYPE = {model_type: family for family in FAMILIES for model_type in family.model_types}
