"""Whether a model can be made, and taught, with the ``model`` of a run's file: found out before any work.

The model is built on the meta device and a picture sent through it: there tensors have shapes only, and nothing is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import CLIPVisionConfig, PreTrainedConfig
from transformers.activations import ACT2FN

from ixc.dual_perspective import CUTS_PER_SIDE
from ixc.errors import SettingsError
from ixc.models.inf_llava import InfLlavaForCausalLM
from ixc.models.xcomposer2 import VisualSpans, XComposer2Config, XComposer2ForCausalLM
from ixc.tiling import TILE_PX, Grid
from ixc.training.cells import PATCHES_PER_SIDE
from ixc.training.initial import NUM_POSITION_CHANNELS
from ixc.training.initial_language import NUM_FAST_PAIRS
from ixc.training.yaml_settings import require

SET_BY_TRAINING = frozenset(
    {"vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "image_token_id", "image_placeholder"}
    | {"img_size", "cuts_per_side"}
)
"""Fields that follow from the tokenizer, and from how pictures are cut here."""


def model_config(kind: type[PreTrainedConfig], given: Mapping[str, object], **others: object) -> PreTrainedConfig:
    """The configuration of ``kind`` with the fields ``given``, and ``others`` where these are silent.

    Raises SettingsError for a field that does not exist (``kind`` alone would take the 7B's size for what was misspelt), a
    number that is not finite, and what no model can be made of.
    """
    _check_fields(given, kind, "model")
    vision = given.get("vision_config", {})
    require(isinstance(vision, Mapping), f"model: vision_config must be a mapping, not {vision!r}")
    _check_fields(vision, CLIPVisionConfig, "model: vision_config")
    try:
        config = kind(**{**others, **given})
        _check_parts(config)
        with torch.device("meta"), torch.no_grad():
            _show_picture(config)
    except SettingsError as error:
        raise SettingsError(f"model: {error}") from None
    except StrictDataclassError as error:
        raise SettingsError(f"model: {_sentence(error.__cause__ or error)}") from None
    except Exception as error:  # as many kinds as a model has parts
        raise SettingsError(f"model: none can be made of these fields: {_sentence(error)}") from error
    return config


def _check_fields(given: Mapping[str, object], kind: type[PreTrainedConfig], where: str) -> None:
    """Names, and what every number of a model is: finite, not negative, and where it counts something at least 1."""
    types = {each.name: str(getattr(each.type, "__name__", each.type)) for each in fields(kind)}
    known = types.keys() - {each.name for each in fields(PreTrainedConfig)} - SET_BY_TRAINING
    unknown = sorted(str(name) for name in given if name not in known)
    require(not unknown, f"{where}: unknown setting {', '.join(unknown)}")
    for name, value in given.items():
        if types[name] == "int":
            is_count = isinstance(value, int) and value >= 1
            require(is_count, f"{where}: {name} must be a whole number of at least 1, not {value!r}")
    for name, value in _numbers(given):
        require(0 <= value < math.inf, f"{where}: {name} must be a finite number that is not negative")


def _numbers(given: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, (int, float)):
            yield name, value


def _sentence(error: BaseException) -> str:
    return f"{str(error).splitlines()[0].rstrip('.')}."


def _check_parts(config: PreTrainedConfig) -> None:
    """What could be built and could not be trained, or is better said in words. Raises SettingsError."""
    vision, patch_px = config.vision_config, TILE_PX // PATCHES_PER_SIDE
    is_cut_so = vision.image_size == TILE_PX and vision.patch_size == patch_px
    require(is_cut_so, f"vision_config: image_size must be {TILE_PX} and patch_size {patch_px}, as pictures are cut here")
    for each, where in ((config, ""), (vision, "vision_config: ")):
        require(each.hidden_act in ACT2FN, f"{where}there is no hidden_act {each.hidden_act!r}")
    is_shared = config.num_attention_heads % config.num_key_value_heads == 0
    require(is_shared, "num_attention_heads must be a multiple of num_key_value_heads")
    is_turned = config.head_dim >= 2 * NUM_FAST_PAIRS and config.head_dim % 2 == 0
    require(is_turned, f"hidden_size / num_attention_heads must be even and at least {2 * NUM_FAST_PAIRS}")
    if isinstance(config, XComposer2Config):
        has_room = vision.hidden_size >= NUM_POSITION_CHANNELS * vision.num_attention_heads
        require(has_room, f"vision_config: hidden_size / num_attention_heads must be at least {NUM_POSITION_CHANNELS}")
        require(config.plora_wqkv_rank >= 1, "plora_wqkv_rank must be at least 1")
        require(0 <= config.plora_dropout < 1, "plora_dropout must be at least 0 and less than 1")
        require(config.rope_theta > 0, "rope_theta must be positive")


def _show_picture(config: PreTrainedConfig) -> None:
    """Build the model and let it see the views of one picture."""
    is_nano = isinstance(config, XComposer2Config)
    model = (XComposer2ForCausalLM if is_nano else InfLlavaForCausalLM)(config)
    views_NCHW = torch.zeros(2 if is_nano else CUTS_PER_SIDE**2 + 1, 3, TILE_PX, TILE_PX)
    visual_TD = model.vision_proj(model.lay_out(model.encode_views(views_NCHW), Grid(1, 1)))
    model.model(inputs_embeds=visual_TD[None], visual_spans=VisualSpans.of_row([(0, len(visual_TD))]))
