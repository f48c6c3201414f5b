"""The number format of the weights, by name; weight-only int8 and int4 (torchao) are the options that save memory."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import nn

from ixc.errors import SettingsError

_MAX_FLOAT32_PARAMETERS = 1_000_000_000
_FIRST_WITH_BFLOAT16 = (8, 0)
"""Compute capability; older GPUs only emulate it."""
_TORCHAO = "torchao==0.18.0"
_INT4_GROUP_SIZES = (128, 64, 32)
"""Weights that share a scale; the kernels take these."""


class Precision(StrEnum):
    """What ``IXC_PRECISION`` may be. AUTO is bf16 on a GPU that has it, else fp16; on a CPU fp32 for small models."""

    AUTO = "auto"
    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def is_quantised(self) -> bool:
        return self in (Precision.INT8, Precision.INT4)


_DTYPES = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16, Precision.FP32: torch.float32}


def parse_precision(name: str) -> Precision:
    """Raises SettingsError naming the choices."""
    try:
        return Precision(name)
    except ValueError:
        choices = ", ".join(Precision)
        raise SettingsError(f"The precision must be one of {choices}, not {name!r}.") from None


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raises SettingsError for INT8 or INT4 on a GPU without bf16.

    torchao multiplies int8 weights as they are and scales the sums afterwards. In fp16, all that such a GPU has, a sum above
    65504 is infinite, which large models' activations reach; the int4 kernel is not made for it at all.
    """
    if not precision.is_quantised or device.type != "cuda":
        return
    capability = torch.cuda.get_device_capability(device)
    if capability < _FIRST_WITH_BFLOAT16:
        needed, given = (".".join(map(str, version)) for version in (_FIRST_WITH_BFLOAT16, capability))
        raise SettingsError(
            f"The precision {precision} needs a GPU of compute capability {needed} or newer and this one has {given}; set "
            "IXC_PRECISION=fp16, and IXC_DEVICE=split where that is too large."
        )


def load_dtype(precision: Precision, device: torch.device, num_parameters: int) -> torch.dtype:
    """The dtype in which the weights are loaded; for INT8 and INT4 that of what stays unquantised."""
    if precision in _DTYPES:
        return _DTYPES[precision]
    if precision is Precision.INT4:
        return torch.bfloat16  # the only one that the int4 kernel takes on a GPU, and the fastest of the CPU's
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= _FIRST_WITH_BFLOAT16 else torch.float16
    return torch.float32 if num_parameters <= _MAX_FLOAT32_PARAMETERS else torch.bfloat16


def quantise(model: nn.Module, precision: Precision, device: torch.device) -> None:
    """Replace the weights of the language model's linears by INT8 or INT4 ones, in place, by torchao; all ends on ``device``.

    INT8 has one scale a row, INT4 a scale and an offset for every 128 weights of a row (fewer where 128 does not divide it).
    Each linear is quantised on ``device`` by itself, so a model that comes in CPU memory never takes more there than its small
    form. Partial LoRA's branches, embeddings, head, projector and vision tower keep their dtype: the branches are small, and
    visual tokens depend on them. Raises SettingsError when torchao is missing or cannot do it on this device.
    """
    try:
        from torchao.quantization import quantize_

        for linear in _large_linears(model):
            config = _int8() if precision is Precision.INT8 else _int4(linear.in_features, device)
            linear.weight = nn.Parameter(linear.weight.to(device), requires_grad=False)
            quantize_(linear, config, filter_fn=lambda module, _, linear=linear: module is linear)
    except ImportError:
        raise SettingsError(
            f"The precision {precision} needs the package torchao; run pip install {_TORCHAO} (see requirements-gpu.txt)."
        ) from None
    except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:  # torchao's words for "not on this device"
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        raise SettingsError(f"The precision {precision} does not work on {device} ({reason}); use bf16 or int8.") from error
    model.to(device)


@torch.no_grad()
def take_quantised_values(model: nn.Module, precision: Precision, dtype: torch.dtype, device: torch.device) -> None:
    """Give an unquantised model the values that ``quantise`` would round its weights, in ``dtype``, to; for comparisons.

    Raises SettingsError as ``quantise`` does.
    """
    for linear in _large_linears(model):
        only = nn.ModuleDict({"linear": nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")})
        only["linear"].weight = nn.Parameter(linear.weight.to(dtype), requires_grad=False)
        alone = nn.Module()
        alone.model = nn.Module()
        alone.model.layers = only
        quantise(alone, precision, device)
        one_hot = torch.eye(linear.in_features, dtype=dtype, device=device)  # int4's packed weights cannot be read otherwise
        linear.weight.copy_(only["linear"](one_hot).T)


def _large_linears(model: nn.Module) -> list[nn.Linear]:
    """Of the language model's layers, without Partial LoRA's branches."""
    modules = model.model.layers.named_modules()
    return [module for name, module in modules if isinstance(module, nn.Linear) and not name.endswith(("Plora_A", "Plora_B"))]


def _int8() -> object:
    from torchao.quantization import Int8WeightOnlyConfig

    return Int8WeightOnlyConfig()


def _int4(in_features: int, device: torch.device) -> object:
    """torchao 0.18 has one kernel for CUDA (compute capability 8 and newer) and one for the CPU, under another name."""
    group_size = next((size for size in _INT4_GROUP_SIZES if in_features % size == 0), None)
    if group_size is None:
        raise SettingsError(f"The precision int4 needs rows of a multiple of 32 weights, not of {in_features}; use int8.")
    if device.type == "cuda":
        from torchao.quantization import Int4WeightOnlyConfig

        return Int4WeightOnlyConfig(
            group_size=group_size, int4_packing_format="tile_packed_to_4d", int4_choose_qparams_algorithm="hqq"
        )
    from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

    return PrototypeInt4WeightOnlyConfig(group_size=group_size)


def weight_bytes(model: nn.Module, precision: Precision, dtype: torch.dtype) -> int:
    """What the weights of ``model`` (on any device, meta too) take in ``precision``, whose unquantised part has ``dtype``."""
    quantised = _large_linears(model) if precision.is_quantised else []
    in_small = sum(linear.weight.numel() for linear in quantised)
    rest = (sum(parameter.numel() for parameter in model.parameters()) - in_small) * dtype.itemsize
    if precision is Precision.INT4:  # half a byte each, and a scale and an offset a group
        groups = sum(
            linear.weight.numel() // next((size for size in _INT4_GROUP_SIZES if linear.in_features % size == 0), 1)
            for linear in quantised
        )
        return rest + in_small // 2 + 2 * groups * dtype.itemsize
    return rest + in_small + sum(linear.out_features for linear in quantised) * dtype.itemsize
