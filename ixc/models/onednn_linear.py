"""Matrix products in float32 by oneDNN instead of MKL, where that is faster.

PyTorch hands float32 products on a CPU to MKL, which leaves half of an AMD processor's vector units idle (Zen 5, one thread:
110 GFLOP/s, oneDNN 240). The operator is the one that torch.compile's code calls; nothing is lost where it is missing.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

logger = logging.getLogger(__name__)

_MIN_ROWS = 32
"""Below that, as when decoding, reading the weights is all there is to do."""
_TRIAL_SHAPE = (512, 192, 512)
"""Rows, inputs and outputs of what is timed."""
_NUM_TRIALS = 5
_MUST_GAIN = 0.9


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As ``F.linear``: [..., in] and [out, in] -> [..., out]. Differs from it by rounding only."""
    if _fits(x, weight) and is_onednn_faster():
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


class OneDnnLinear(nn.Linear):
    """``nn.Linear`` by ``linear``."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def use_onednn(model: nn.Module) -> None:
    """Let every plain linear layer of ``model`` compute by ``linear``; names and parameters stay what they are."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDnnLinear


@functools.cache
def is_onednn_faster() -> bool:
    """Whether this processor gains by it: timed once, in a few milliseconds."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    rows, width, out = _TRIAL_SHAPE
    with torch.inference_mode():
        x, weight = torch.ones(rows, width), torch.ones(out, width)
        works: tuple[Callable[[], Tensor], ...] = (
            lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""),
            lambda: F.linear(x, weight),
        )
        times_s = [[_seconds(work) for work in works] for _ in range(_NUM_TRIALS + 1)][1:]
    onednn_s, mkl_s = map(min, zip(*times_s, strict=True))
    logger.info("float32 products by oneDNN take %.2f of MKL's time", onednn_s / mkl_s)
    return onednn_s < _MUST_GAIN * mkl_s


def _fits(x: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and x.device.type == weight.device.type == "cpu"
        and type(weight) in (Tensor, nn.Parameter)  # not one of a quantisation's kinds
        and x.dtype == weight.dtype == torch.float32
        and weight.is_contiguous()  # others take a thousand times as long
        and x.numel() >= _MIN_ROWS * x.shape[-1]
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
    )


def _seconds(work: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s
