"""Optimisers and the learning-rate schedule.

Muon for the weight matrices (in our short runs it needs fewer images than AdamW), AdamW for everything else: embeddings, norms,
biases, the patch convolution, newline and separator.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, distributed, nn

from ixc.errors import TrainingDiverged
from ixc.training.initial import EYES

MUON_EXCLUDED = ("embed", "output.weight", "extra.")
_WHAT_TO_DO = "lower the learning rates and start again from the last checkpoint."


class Optimizers:
    """Both optimisers as one. ``scale_of`` gives each parameter its share of the learning rate (0: frozen)."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        scale_of: Callable[[str], float],
        *,
        muon_lr: float,
        adamw_lr: float,
        weight_decay: float = 0.01,
    ) -> None:
        named = list(named_parameters)
        muon, adamw = {}, {}
        for name, parameter in named:
            scale = scale_of(name)
            parameter.requires_grad_(scale > 0)
            if scale > 0:
                is_matrix = parameter.ndim == 2 and not any(part in name for part in MUON_EXCLUDED)
                (muon if is_matrix else adamw).setdefault(round(scale, 6), []).append(parameter)
        self._optimizers: list[torch.optim.Optimizer] = []
        if muon:
            groups = [{"params": params, "lr": muon_lr * scale} for scale, params in muon.items()]
            self._optimizers.append(torch.optim.Muon(groups, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"))
        if adamw:
            groups = [{"params": params, "lr": adamw_lr * scale} for scale, params in adamw.items()]
            self._optimizers.append(torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0))
        self._peak_lrs = [[group["lr"] for group in each.param_groups] for each in self._optimizers]
        self.parameters = [p for each in self._optimizers for group in each.param_groups for p in group["params"]]
        trained = {id(each) for each in self.parameters}
        parts = ([p for name, p in named if id(p) in trained and name.startswith(EYES) == sees] for sees in (True, False))
        self._parts = [part for part in parts if part]

    def step(self, fraction_of_peak: float, max_norm: float = 1.0) -> float:
        """One update at this fraction of the peak learning rates; gradients are clipped and cleared. Returns their norm.

        Raises TrainingDiverged, with the weights as they were, when the norm is not finite: clipping would make them all NaN.
        """
        norm = self.clip(max_norm)
        if not math.isfinite(norm):
            raise TrainingDiverged(f"The gradients became {norm}; {_WHAT_TO_DO}")
        for each, peaks in zip(self._optimizers, self._peak_lrs, strict=True):
            for group, peak in zip(each.param_groups, peaks, strict=True):
                group["lr"] = peak * fraction_of_peak
            each.step()
            each.zero_grad(set_to_none=True)
        return norm

    def clip(self, max_norm: float) -> float:
        """Scale gradients down to ``max_norm``, the eyes' apart from the language model's. Returns the norm of both before.

        The codebook's loss makes the eyes' gradients several times as large as the others. Clipped together, what a step with
        pictures says to the language model would hardly count against a rehearsal, in which there are no eyes.
        """
        return math.hypot(*(float(nn.utils.clip_grad_norm_(part, max_norm)) for part in self._parts))

    def state_dict(self) -> dict[str, list]:
        return {"optimizers": [each.state_dict() for each in self._optimizers]}

    def load_state_dict(self, state: dict[str, list]) -> None:
        for each, saved in zip(self._optimizers, state["optimizers"], strict=True):
            each.load_state_dict(saved)


def warmup_stable_decay(step: int, num_steps: int, num_warmup: int, decay_share: float = 0.6) -> float:
    """Fraction of the peak learning rate: linear warm-up, constant, and linearly to zero in the last ``decay_share``.

    Instead of the paper's cosine: a run can be made longer or shorter while it goes on, without having been wrong before.
    """
    if step < num_warmup:
        return (step + 1) / num_warmup
    return min(1.0, (num_steps - step) / (decay_share * num_steps))


def layerwise_decay(name: str, num_layers: int, decay: float) -> float:
    """Layer-wise learning-rate decay of the vision tower: ``decay`` to the power of the layers above. 1 for all other parts."""
    if not name.startswith("vit."):
        return 1.0
    layer = re.search(r"\.layers\.(\d+)\.", name)
    return decay ** (num_layers - 1 - int(layer[1]) if layer else num_layers)


def accumulate(loss: Tensor) -> float:
    """Backward pass; returns the loss as a number. Raises TrainingDiverged when it is not finite.

    Processes that train along would wait for ever for gradients that do not come: so they become NaN, and through their mean
    ``Optimizers.step`` raises in all processes alike.
    """
    value = float(loss.detach())
    if math.isfinite(value):
        loss.backward()
    elif distributed.is_initialized():
        loss.backward(torch.full_like(loss, math.nan))
    else:
        raise TrainingDiverged(f"The loss became {value}; {_WHAT_TO_DO}")
    return value


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Over all processes that train together; nothing where there is one."""
    if not distributed.is_initialized():
        return
    for each in parameters:
        if each.grad is None:  # not met by this process's batch, but perhaps by another's
            each.grad = torch.zeros_like(each)
    flat = torch.cat([each.grad.flatten() for each in parameters])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for each, grad in zip(parameters, flat.split([each.numel() for each in parameters]), strict=True):
        each.grad.copy_(grad.view_as(each))
