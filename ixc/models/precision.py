"""The number format of the weights: chosen by name, with int8 weight-only quantisation as the option that halves memory."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import nn

from ixc.errors import SettingsError
from ixc.models.xcomposer2.language import PLoRALinear

_MAX_FLOAT32_PARAMETERS = 1_000_000_000


class Precision(StrEnum):
    """What ``IXC_PRECISION`` may be. AUTO is bf16 on a GPU that has it, else fp16; on a CPU fp32 for small models."""

    AUTO = "auto"
    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"
    INT8 = "int8"


_DTYPES = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16, Precision.FP32: torch.float32}


def parse_precision(name: str) -> Precision:
    """Raises SettingsError naming the choices."""
    try:
        return Precision(name)
    except ValueError:
        choices = ", ".join(Precision)
        raise SettingsError(f"The precision must be one of {choices}, not {name!r}.") from None


def load_dtype(precision: Precision, device: torch.device, num_parameters: int) -> torch.dtype:
    """The dtype in which the weights are loaded; for INT8 that of everything that stays unquantised."""
    if precision in _DTYPES:
        return _DTYPES[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float32 if num_parameters <= _MAX_FLOAT32_PARAMETERS else torch.bfloat16


def quantise_int8(model: nn.Module) -> None:
    """Replace the weights of the language model's linears by int8 with one scale a row, in place, by torchao.

    Partial LoRA's branches, embeddings, head, projector and vision tower keep their dtype: the branches are small, and visual
    tokens depend on them. Raises SettingsError when torchao is not installed.
    """
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
    except ImportError:
        raise SettingsError("The precision int8 needs the package torchao; run: pip install torchao.") from None
    quantize_(model, Int8WeightOnlyConfig(), filter_fn=lambda module, name: isinstance(module, PLoRALinear))
