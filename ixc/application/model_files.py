"""What a model needs before it can be loaded: its files on this machine, and memory that holds its weights."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ixc.container_memory import container_memory
from ixc.errors import CheckpointError, OutOfMemory
from ixc.models.presets import XC2_4KHD_7B, XC2_VL_7B, ModelPreset, find_model
from ixc.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ixc.models.placement import Placement

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, float | None], None]
FetchFiles = Callable[[Settings, int, OnProgress], None]
"""Brings the files of ``Settings.model``; the number is what the model before it holds and will give back."""

_HUB_BYTES = {XC2_4KHD_7B.source: 17_195_000_000, XC2_VL_7B.source: 17_334_000_000}
"""The weight files of the known repositories whose size is known."""
_NOTHING_TO_SPEAK_OF = 0.01
_MAX_LAYERS = 1000
"""To count the weights of a configuration that asks for more would take long; loading refuses it."""


class ModelTooLarge(OutOfMemory):
    """The weights surely do not fit the memory there is, whatever else is let go of."""


def is_on_hub(settings: Settings, model: str) -> bool:
    """Whether ``model`` is one that may have to be downloaded."""
    if settings.backend:
        return False
    try:
        return isinstance(find_model(model).source, str)
    except CheckpointError:  # loading it will say why
        return False


def bytes_to_download(settings: Settings, model: str) -> int | None:
    """What choosing ``model`` downloads; 0 where next to nothing of it is missing, None if nobody knows how much is."""
    if not is_on_hub(settings, model):
        return 0
    preset = find_model(model)
    all_bytes = _HUB_BYTES.get(preset.source)
    if all_bytes is None:
        return 0 if _is_held(preset.source, preset.revision) else None
    left_bytes = all_bytes - _held_bytes(preset.source)
    return left_bytes if left_bytes > _NOTHING_TO_SPEAK_OF * all_bytes else 0


def fetch_model(settings: Settings, held_bytes: int, on_progress: OnProgress) -> None:
    """Download the files of ``settings.model`` that are not on this machine, unless its weights could not be held.

    ``held_bytes`` is what the model before it will give back. What ``on_progress`` raises ends the download, which can go on
    later. Raises ModelTooLarge, CheckpointError, SettingsError.
    """
    if settings.backend:
        return
    preset = find_model(settings.model)
    if isinstance(preset.source, Path):
        check_memory(settings, preset.title, preset.source, held_bytes)
        return
    from ixc.chat.static_decode import parse_decode_mode
    from ixc.models.download import download_checkpoint  # the Hub client is not needed for a local folder
    from ixc.models.placement import parse_placement
    from ixc.models.precision import check_precision, parse_precision

    # Of a wrong setting one wants to hear before the download, not after it.
    precision = parse_precision(settings.precision)
    parse_decode_mode(settings.decode)
    check_precision(precision, parse_placement(settings.device, settings.max_memory, settings.offload_folder).device)
    _check_before_download(settings, preset, held_bytes)
    step = f"Downloading {preset.title}"
    folder = download_checkpoint(preset.source, preset.revision, lambda share: on_progress(step, share))
    check_memory(settings, preset.title, folder, held_bytes)


def check_memory(settings: Settings, title: str, folder: Path, held_bytes: int) -> None:
    """Compare the weights that ``folder``'s config.json asks for with the memory that could be theirs.

    Nothing but the weights is counted: what is let through may still be too large. Raises ModelTooLarge, which says what is
    needed and what there is, CheckpointError for a config.json that is none of ours, SettingsError.
    """
    from ixc.models.checkpoints import read_config
    from ixc.models.placement import parse_placement
    from ixc.models.precision import load_dtype, parse_precision, weight_bytes

    config, precision = read_config(folder), parse_precision(settings.precision)
    placement = parse_placement(settings.device, settings.max_memory, settings.offload_folder)
    model = _on_meta(config)
    room_bytes = _room_bytes(settings, placement, held_bytes)
    if model is None or room_bytes is None:
        return
    dtype = load_dtype(precision, placement.device, sum(parameter.numel() for parameter in model.parameters()))
    needed_bytes = weight_bytes(model, precision, dtype)
    if needed_bytes > room_bytes:
        where = {"cuda": "the GPU", "cpu": "this machine"}[placement.device.type]
        smaller = (
            "choose a smaller model" if precision.is_quantised else "set IXC_PRECISION=int8 or int4, or choose a smaller model"
        )
        raise ModelTooLarge(
            f"The weights of {title} take {in_words(needed_bytes)} of memory and {where} has {in_words(room_bytes)} for them; "
            f"{smaller}."
        )


def in_words(num_bytes: int) -> str:
    """17.2 GB, 350 MB."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def _check_before_download(settings: Settings, preset: ModelPreset, held_bytes: int) -> None:
    """By the configuration alone, which is small. Where it cannot be had, the download says why, or needs none."""
    from huggingface_hub import hf_hub_download

    with tempfile.TemporaryDirectory(
        prefix="ixc-config-"
    ) as folder:  # in the Hub's cache it would look like a model's beginning
        try:
            hf_hub_download(preset.source, "config.json", revision=preset.revision, local_dir=folder)
        except Exception as error:  # noqa: BLE001  of many kinds
            logger.info(
                "the configuration of %s cannot be looked at before its download: %s", preset.name, type(error).__name__
            )
            return
        check_memory(settings, preset.title, Path(folder), held_bytes)


def _on_meta(config: object) -> PreTrainedModel | None:
    """The architecture without its weights; None where no model can be built, which loading will say."""
    import torch

    from ixc.models.families import family_of_config

    if config.num_hidden_layers + config.vision_config.num_hidden_layers > _MAX_LAYERS:
        return None
    try:
        with torch.device("meta"):  # for this thread alone; another one may be loading
            return family_of_config(config).model_class(config)
    except Exception:  # noqa: BLE001  sizes that cannot be, names of activations that nobody knows
        return None


def _room_bytes(settings: Settings, placement: Placement, held_bytes: int) -> int | None:
    """All memory that the weights could have; None where there is no end of it."""
    import psutil

    from ixc.chat.memory import free_memory_bytes

    if placement.is_split:
        limits_bytes = sum(placement.max_memory_bytes.values())
        return None if placement.offload_folder else limits_bytes + (0 if settings.max_memory else held_bytes)
    if placement.device.type == "cuda":
        return free_memory_bytes(placement.device) + held_bytes
    # Not what is free now: weights that are read from their files as they are may push others' memory out.
    container = container_memory()
    return int(min(psutil.virtual_memory().total, container.total) + min(psutil.swap_memory().total, container.swap))


def _is_held(repo_id: str, revision: str) -> bool:
    """Whether the Hub client's cache has all weight files of a repository."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo_id, revision=revision, allow_patterns="*.json", local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return False
    from ixc.models.weight_files import weight_files  # torch comes with it

    try:
        return all(file.is_file() for file in weight_files(folder))
    except CheckpointError:
        return False


def _held_bytes(repo_id: str) -> int:
    """What the Hub client's cache holds of a repository, parts of files included."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="model")
    return sum(_size_of(path) for path in folder.rglob("*") if not path.is_symlink())


def _size_of(path: Path) -> int:
    """0 for folders, and for what is renamed or removed in this moment."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
