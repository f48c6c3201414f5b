"""Which attention kernels a model runs on."""

from __future__ import annotations

import torch
from transformers.utils import is_flash_attn_2_available

_FLASH_CAPABILITY = (8, 0)
"""Ampere; flash-attn 2 has no kernels for older GPUs."""


def attention_implementation(device: torch.device, dtype: torch.dtype) -> str:
    """transformers' name for it: flash-attn where it is installed and runs, else PyTorch's own (SDPA).

    flash-attn needs no mask for a chunk of a prompt that follows others, or for a second turn; SDPA makes one then.
    """
    has_kernels = (
        device.type == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and torch.cuda.get_device_capability(device) >= _FLASH_CAPABILITY
    )
    return "flash_attention_2" if has_kernels and is_flash_attn_2_available() else "sdpa"
