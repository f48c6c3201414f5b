"""From a setting to a running engine."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from ixc.chat.costs import CostModel, kv_bytes_per_token
from ixc.chat.engine import Engine
from ixc.chat.heap import bound_kernel_caches
from ixc.chat.interface import ModelInfo
from ixc.chat.memory import free_memory_bytes
from ixc.chat.runner import ModelRunner
from ixc.chat.static_decode import DecodeMode, StaticDecoder, make_static_decoder, parse_decode_mode
from ixc.image_layout import layout_of_config
from ixc.models.checkpoints import Checkpoint, load_checkpoint
from ixc.models.onednn_linear import use_onednn
from ixc.models.placement import parse_placement
from ixc.models.precision import parse_precision
from ixc.models.presets import ModelPreset, find_model
from ixc.settings import GENERATION_LIMITS, GenerationSettings, Settings

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, float | None], None]
"""Called with what is being done and the share done, 0 to 1, or None."""

VIEWS_PER_PASS = {"cpu": 4, "cuda": 16}
"""Small on a CPU, so that Stop is answered soon; large enough to fill a GPU."""
_CPU_CHUNK_TOKENS, _SMALL_GPU_CHUNK_TOKENS, _GPU_CHUNK_TOKENS = 1024, 2048, 16384
_ROOM_FOR_WHOLE_PROMPTS_BYTES = 6_000_000_000
"""Keys, values and activations of the 7B's longest prompt."""
_STATIC_SHARE = 8


def load_engine(
    settings: Settings,
    on_progress: OnProgress | None = None,
    *,
    load: Callable[..., Checkpoint] = load_checkpoint,
    measure: bool = True,
) -> Engine:
    """Load ``settings.model`` (see ``find_model``) on the device(s) they name, downloading it first if need be.

    ``load`` brings the checkpoint from its folder. Without ``measure`` the device is not timed and estimates have no times:
    for a model that will run elsewhere. Takes seconds to minutes. Raises CheckpointError, SettingsError or
    OutOfMemory.
    """
    report = on_progress or (lambda stage, share: None)
    precision = parse_precision(settings.precision)
    preset = find_model(settings.model)
    mode = parse_decode_mode(settings.decode)
    placement = parse_placement(settings.device, settings.max_memory, settings.offload_folder)
    device = placement.device
    transformers_logging.disable_progress_bar()
    folder = _local_folder(preset, report)
    report(f"Loading {preset.title}", None)
    checkpoint = load(folder, placement, precision)
    checkpoint.processor.image_processor.is_exact = settings.resize == "exact"
    generation = _default_generation(checkpoint)
    report("Warming up", 0.9)
    if device.type == "cpu":
        bound_kernel_caches()
        use_onednn(checkpoint.model)
    chunk_tokens = settings.prefill_chunk_tokens or prefill_chunk_tokens(device, free_memory_bytes(device))
    chunks = {"prefill_chunk_tokens": chunk_tokens, "views_per_pass": VIEWS_PER_PASS[device.type]}
    costs = CostModel(checkpoint.model, **chunks)
    if measure:
        costs.measure(checkpoint.model)
    static = _static_decoder(checkpoint, mode)
    runner = ModelRunner(checkpoint.model, stop_ids=_stop_ids(checkpoint), static=static, **chunks)
    info = ModelInfo(
        name=preset.title,
        device=_device_name(checkpoint.model),
        note=preset.note,
        default_generation=replace(generation, prompt_lookup_tokens=settings.prompt_lookup_tokens),
        default_system=checkpoint.processor.default_system,
        chat_format=checkpoint.processor.chat_format,
        layout=layout_of_config(checkpoint.model.config.to_dict()),
        sees_one_image=checkpoint.processor.sees_one_image,
        max_context_tokens=checkpoint.model.config.max_context_tokens,
        default_max_patches=min(checkpoint.processor.image_processor.max_patches, settings.max_patches_limit),
    )
    logger.info("loaded %s on %s as %s", preset.name, info.device, checkpoint.model.dtype)
    report("Ready", 1.0)
    return Engine(runner, checkpoint.processor, info, costs, settings)


def _local_folder(preset: ModelPreset, report: OnProgress) -> Path:
    if isinstance(preset.source, Path):
        return preset.source
    from ixc.models.download import download_checkpoint  # the Hub client is not needed for a local folder

    report(f"Downloading {preset.title}", 0.0)
    return download_checkpoint(preset.source, preset.revision, lambda share: report(f"Downloading {preset.title}", share))


def _stop_ids(checkpoint: Checkpoint) -> frozenset[int]:
    tokenizer = checkpoint.processor.tokenizer
    stop_ids = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(checkpoint.processor.chat_format.turn_end)}
    own = checkpoint.generation_config.eos_token_id if checkpoint.generation_config else None
    if own is not None:
        stop_ids |= set(own) if isinstance(own, (list, tuple)) else {own}
    return frozenset(stop_ids)


def _default_generation(checkpoint: Checkpoint) -> GenerationSettings:
    """The reference's ``chat`` settings, changed by the checkpoint's generation_config.json, within a user's limits."""
    own = checkpoint.generation_config
    names = ("max_new_tokens", "do_sample", "temperature", "top_p", "repetition_penalty", "num_beams")
    said = {name: value for name in names if own is not None and (value := getattr(own, name, None)) is not None}
    for name, (_, low, high) in GENERATION_LIMITS.items():  # it may allow more than a user may ask for
        if isinstance(said.get(name), (int, float)) and not low <= said[name] <= high:
            bounded = min(max(said[name], low), high)
            logger.warning("generation_config.json says %s=%s, taken as %s", name, said[name], bounded)
            said[name] = bounded
    return GenerationSettings(**said)


def prefill_chunk_tokens(device: torch.device, free_bytes: int | None) -> int:
    """Prompt tokens per pass where the settings leave it open.

    A GPU with room takes any prompt at once: then attention needs no mask and runs at its fastest.
    """
    if device.type != "cuda":
        return _CPU_CHUNK_TOKENS
    return _GPU_CHUNK_TOKENS if free_bytes is None or free_bytes >= _ROOM_FOR_WHOLE_PROMPTS_BYTES else _SMALL_GPU_CHUNK_TOKENS


def _static_decoder(checkpoint: Checkpoint, mode: DecodeMode) -> StaticDecoder | None:
    """For all positions the model takes, or, where memory is short, for those that an eighth of the free memory holds."""
    model = checkpoint.model
    return make_static_decoder(model, static_capacity(model, free_memory_bytes(model.device)), mode)


def static_capacity(model: PreTrainedModel, free_bytes: int | None) -> int:
    """Positions that the fixed decode buffers hold where ``free_bytes`` are free beside the weights."""
    capacity = model.config.max_context_tokens
    if free_bytes is None:
        return capacity
    return min(capacity, free_bytes // _STATIC_SHARE // kv_bytes_per_token(model.config, model.dtype))


def _device_name(model: PreTrainedModel) -> str:
    used = {str(device) for device in getattr(model, "hf_device_map", {}).values()}
    if len(used) > 1:
        return "split: " + ", ".join(f"GPU {device}" if device.isdecimal() else device for device in sorted(used))
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
