"""Where a model's weights go: one device, or spread over GPUs, CPU and disk by accelerate."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import infer_auto_device_map
from transformers import PreTrainedModel

from ixc.container_memory import container_memory
from ixc.errors import SettingsError

logger = logging.getLogger(__name__)

Device = int | str
"""As accelerate names them: a GPU's number, "cpu", "disk"."""

_KEPT_FREE = 0.75
"""Share of a GPU's free memory that weights may take; the rest is for keys, values and activations."""
_CPU_KEPT_FREE = 0.9
_PART = re.compile(r"(\d+|cpu)\s*=\s*(\d+(?:\.\d+)?)\s*GB", re.IGNORECASE)
_GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class Placement:
    """``device`` runs what belongs to no layer and takes the inputs; with ``is_split`` the layers are spread."""

    device: torch.device
    is_split: bool = False
    max_memory_bytes: Mapping[Device, int] = field(default_factory=dict)
    """With ``is_split``: what each may hold of the weights."""
    offload_folder: Path | None = None


def parse_placement(device: str, max_memory: str = "", offload_folder: str = "") -> Placement:
    """From the settings. Raises SettingsError when there is no such device or the words are unknown."""
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "split":
        given = parse_max_memory(max_memory)
        if missing := [part for part in given if part != "cpu" and int(part) >= num_gpus]:
            raise SettingsError(f"IXC_MAX_MEMORY names GPU {missing[0]}, and this machine has {num_gpus}; leave it out.")
        limits = given or free_memory_of_all(num_gpus)
        first = next((part for part in limits if part != "cpu"), "cpu")
        folder = Path(offload_folder).expanduser() if offload_folder else None
        return Placement(torch.device("cpu") if first == "cpu" else torch.device("cuda", int(first)), True, limits, folder)
    if max_memory or offload_folder:
        raise SettingsError("IXC_MAX_MEMORY and IXC_OFFLOAD_DIR go with IXC_DEVICE=split; set it, or leave them out.")
    if device == "auto":
        return Placement(torch.device("cuda" if num_gpus else "cpu"))
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", device)
    if match is None:
        raise SettingsError(f"IXC_DEVICE must be auto, cpu, cuda, cuda:N or split, not {device!r}.")
    if device != "cpu" and int(match[1] or 0) >= num_gpus:
        found = f"only {num_gpus}" if num_gpus else "no"
        raise SettingsError(
            f"IXC_DEVICE asks for {device} and PyTorch finds {found} NVIDIA GPU here; set IXC_DEVICE=auto, or check the driver "
            "and that PyTorch was installed with CUDA."
        )
    return Placement(torch.device(device))


def parse_max_memory(text: str) -> dict[Device, int]:
    """ "0=20GB, cpu=48GB" -> bytes by device. Raises SettingsError."""
    limits: dict[Device, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        match = _PART.fullmatch(part)
        if match is None:
            raise SettingsError(f'IXC_MAX_MEMORY must look like "0=20GB, 1=20GB, cpu=48GB"; {part!r} does not.')
        name = match[1].lower()
        limits[name if name == "cpu" else int(name)] = int(float(match[2]) * _GIGABYTE)
    return limits


def free_memory_of_all(num_gpus: int) -> dict[Device, int]:
    """What weights may take of each GPU and of the CPU's memory, leaving room for a question."""
    import psutil  # accelerate's own requirement

    limits: dict[Device, int] = {gpu: int(torch.cuda.mem_get_info(gpu)[0] * _KEPT_FREE) for gpu in range(num_gpus)}
    limits["cpu"] = int(min(psutil.virtual_memory().available, container_memory().free) * _CPU_KEPT_FREE)
    return limits


def device_map_for(model: PreTrainedModel, placement: Placement) -> dict[str, Device | torch.device]:
    """The map for ``from_pretrained``; ``model`` may be on the meta device, in its final dtype.

    Parameters that belong to the whole model (newline and separator) always stay on the first device: no layer's hook would
    bring them from elsewhere when an image is laid out. So does the embedding table, where a prompt comes in. Raises
    SettingsError when the weights do not fit.
    """
    if not placement.is_split:
        return {"": placement.device}
    first = placement.device.index if placement.device.type == "cuda" else "cpu"
    own = dict(model.named_parameters(recurse=False))
    limits = dict(placement.max_memory_bytes)
    limits.setdefault("cpu", 0)
    limits[first] = max(limits[first] - sum(p.numel() * p.element_size() for p in own.values()), 0)
    inferred = infer_auto_device_map(
        model, max_memory=limits, no_split_module_classes=list(model._no_split_modules), offload_buffers=True
    )
    embeddings = model.get_input_embeddings()
    embeddings_name = next(name for name, module in model.named_modules() if module is embeddings)
    device_map = _with_own_entries(model, inferred, (*own, embeddings_name), first)
    if "disk" in device_map.values() and placement.offload_folder is None:
        total = sum(p.numel() * p.element_size() for p in model.parameters()) / _GIGABYTE
        room = sum(placement.max_memory_bytes.values()) / _GIGABYTE
        raise SettingsError(
            f"The weights take {total:.1f} GB and GPUs and CPU together may hold {room:.1f} GB; set IXC_OFFLOAD_DIR to a "
            "folder on a fast disk."
        )
    for device in dict.fromkeys(device_map.values()):
        logger.info("on %s: %d parts of the model", device, sum(other == device for other in device_map.values()))
    return device_map


def _with_own_entries(
    model: PreTrainedModel, device_map: Mapping[str, Device], names: Iterable[str], device: Device
) -> dict[str, Device]:
    """``device_map`` with ``names`` on ``device``; entries for wholes that contain them are replaced by entries for the parts.

    accelerate moves an entry's module with all that is in it, whatever other entries say.
    """
    result = dict(device_map)
    for name in names:
        while (whole := _entry_around(name, result)) is not None:
            on = result.pop(whole)
            module = model.get_submodule(whole)
            parts = [part for part, _ in (*module.named_children(), *module.named_parameters(recurse=False))]
            result |= {f"{whole}.{part}" if whole else part: on for part in parts}
        result[name] = device
    return result


def _entry_around(name: str, device_map: Mapping[str, Device]) -> str | None:
    return next((entry for entry in device_map if entry != name and (not entry or name.startswith(f"{entry}."))), None)
