"""How much memory a device has left, and giving back what is no longer used."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ixc.chat.heap import trim_heap
from ixc.container_memory import container_memory
from ixc.settings import DEFAULT_CACHE_BYTES, CacheLimits

_MEMINFO = Path("/proc/meminfo")
_NO_MEMORY_LEFT = ("allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
_GPU_SHARE = 0.5
"""Of what is free beside the model. A question that needs the room gets it: what others keep is dropped for it."""


def free_memory_bytes(device: torch.device) -> int | None:
    """Bytes that can still be taken on ``device``; None where the system does not tell.

    On a GPU what the driver has free and what PyTorch holds unused; on Linux what the kernel calls available, and the
    container it runs in has left.
    """
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
        return free_bytes + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(min(int(kilobytes) * 1024, container_memory().free)) if kilobytes else None


def bounded_cache(limits: CacheLimits, device: torch.device) -> CacheLimits:
    """``limits`` with a number of bytes, for a model that is on ``device`` already."""
    if limits.max_bytes is not None:
        return limits
    free_bytes = free_memory_bytes(device) if device.type == "cuda" else None
    return replace(limits, max_bytes=max(DEFAULT_CACHE_BYTES, int((free_bytes or 0) * _GPU_SHARE)))


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch reports a failed allocation on a CPU, and one of CUDA's own libraries or driver, as a plain RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY_LEFT)


def make_current(device: torch.device) -> None:
    """What names no GPU (streams, events, other libraries' kernels) means this one in this thread; in a new one, the first."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def wait_for_devices(model: nn.Module) -> None:
    """Until all that was asked of the GPUs that ``model`` is on is done; a CPU is not ahead of its program."""
    for device in {parameter.device for parameter in model.parameters()}:
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def is_usable(device: torch.device) -> bool:
    """Whether ``device`` still works for this process: after an illegal access or a hardware error a GPU never does."""
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError:
        return False
    return True


def give_memory_back() -> None:
    """Collect garbage and return unused memory to the driver and the system, which the allocators would rather keep."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim_heap()
