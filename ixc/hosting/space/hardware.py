"""What one can rent for a Space: names, memory, and what follows from the kind. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ixc.errors import SettingsError


class Kind(StrEnum):
    """CPU and GPU are the Space's own; ZERO is a GPU lent for the length of each answer."""

    CPU = "cpu"
    GPU = "gpu"
    ZERO = "zero"


ZERO_GPU_CHUNK_TOKENS = 2048
"""Prompt tokens per pass on ZeroGPU: few enough that Stop, which travels with the events, is answered soon."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """``memory_gb`` is what a model has: of one GPU, or the machine's; in units of 10^9 bytes, as sold."""

    name: str
    title: str
    kind: Kind
    memory_gb: float
    is_paid_by_hour: bool = True
    """Only such hardware has a sleep time of one's own."""


# Sources: https://huggingface.co/docs/hub/spaces-gpus and .../spaces-zerogpu, names as in huggingface_hub.SpaceHardware.
# ZeroGPU lends half an RTX Pro 6000 (48 of 96 GB) today, after 70 GB of an H200: the smaller one counts here. Of several GPUs
# the app uses one, so that bigger bundles are not listed.
HARDWARE = {
    hardware.name: hardware
    for hardware in (
        Hardware("cpu-basic", "CPU basic, 2 cores", Kind.CPU, 16, is_paid_by_hour=False),
        Hardware("cpu-upgrade", "CPU upgrade, 8 cores", Kind.CPU, 32),
        Hardware("zero-a10g", "ZeroGPU", Kind.ZERO, 48, is_paid_by_hour=False),
        Hardware("t4-small", "Nvidia T4 small", Kind.GPU, 16),
        Hardware("t4-medium", "Nvidia T4 medium", Kind.GPU, 16),
        Hardware("l4x1", "Nvidia L4", Kind.GPU, 24),
        Hardware("a10g-small", "Nvidia A10G small", Kind.GPU, 24),
        Hardware("a10g-large", "Nvidia A10G large", Kind.GPU, 24),
        Hardware("l40sx1", "Nvidia L40S", Kind.GPU, 48),
        Hardware("a100-large", "Nvidia A100 large", Kind.GPU, 80),
        Hardware("rtx-pro-6000", "Nvidia RTX Pro 6000", Kind.GPU, 96),
    )
}


def find_hardware(name: str) -> Hardware:
    """Raises SettingsError naming the choices."""
    try:
        return HARDWARE[name]
    except KeyError:
        raise SettingsError(f"There is no hardware {name!r}; choose one of {', '.join(HARDWARE)}.") from None
