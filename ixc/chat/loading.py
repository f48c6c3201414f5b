"""From a setting to a running engine."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from ixc.chat.costs import CostModel
from ixc.chat.engine import Engine
from ixc.chat.interface import ModelInfo
from ixc.chat.runner import ModelRunner
from ixc.conversation import TURN_END
from ixc.image_layout import layout_of_config
from ixc.models.checkpoints import Checkpoint, load_checkpoint
from ixc.models.precision import parse_precision
from ixc.models.presets import ModelPreset, find_model
from ixc.settings import GenerationSettings, Settings

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, float | None], None]
"""Called with what is being done and the share done, 0 to 1, or None."""

_VIEWS_PER_PASS = {"cpu": 4, "cuda": 16}
"""Small on a CPU, so that Stop is answered soon; large enough to fill a GPU."""


def load_engine(settings: Settings, on_progress: OnProgress | None = None) -> Engine:
    """Load ``settings.model`` (see ``find_model``) on the best device there is, downloading it first if need be.

    Takes seconds to minutes. Raises CheckpointError or SettingsError.
    """
    report = on_progress or (lambda stage, share: None)
    precision = parse_precision(settings.precision)
    preset = find_model(settings.model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transformers_logging.disable_progress_bar()
    folder = _local_folder(preset, report)
    report(f"Loading {preset.title}", None)
    checkpoint = load_checkpoint(folder, device, precision)
    checkpoint.processor.image_processor.is_exact = settings.resize == "exact"
    report("Warming up", 0.9)
    chunks = {"prefill_chunk_tokens": settings.prefill_chunk_tokens, "views_per_pass": _VIEWS_PER_PASS[device.type]}
    costs = CostModel(checkpoint.model, **chunks)
    costs.measure(checkpoint.model)
    runner = ModelRunner(checkpoint.model, stop_ids=_stop_ids(checkpoint), **chunks)
    info = ModelInfo(
        name=preset.title,
        device=_device_name(device),
        note=preset.note,
        default_generation=_default_generation(checkpoint),
        default_system=checkpoint.processor.default_system,
        layout=layout_of_config(checkpoint.model.config.to_dict()),
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
    stop_ids = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(TURN_END)}
    own = checkpoint.generation_config.eos_token_id if checkpoint.generation_config else None
    if own is not None:
        stop_ids |= set(own) if isinstance(own, (list, tuple)) else {own}
    return frozenset(stop_ids)


def _default_generation(checkpoint: Checkpoint) -> GenerationSettings:
    """The reference's ``chat`` settings, changed by what the checkpoint's generation_config.json says."""
    own = checkpoint.generation_config
    names = ("max_new_tokens", "do_sample", "temperature", "top_p", "repetition_penalty", "num_beams")
    said = {name: value for name in names if own is not None and (value := getattr(own, name, None)) is not None}
    return GenerationSettings(**said)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
