"""A second device where there is only a CPU: tensors that must not meet those of the first one.

It calls itself "meta", the only name that PyTorch lets pass on every build, but computes: each of its tensors holds an ordinary
one. As with a GPU, an operation that mixes both devices fails, unless the other side is a single number, and ``.to()`` moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")
_MOVES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


class DevicesMixed(AssertionError):
    """An operation had tensors of both devices."""


class _Other(Tensor):
    """A tensor of the other device; ``here`` is what it holds."""

    @staticmethod
    def __new__(cls, here: Tensor) -> _Other:
        return Tensor._make_wrapper_subclass(
            cls, here.size(), here.stride(), here.storage_offset(), dtype=here.dtype, device=DEVICE, requires_grad=False
        )

    def __init__(self, here: Tensor) -> None:
        self.here = here

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Watch(TorchDispatchMode):
    """Makes tensors on the other device where code asks for that, and sees every operation."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Numbers(TorchFunctionMode):
    """Python's numbers go to a device and come back where no dispatch sees it."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.tensor and kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE:
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        if func is Tensor.tolist and isinstance(args[0], _Other):
            return args[0].here.tolist()
        return func(*args, **kwargs)


def _run(func, args: tuple, kwargs: dict) -> object:
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    others = [each for each in tensors if isinstance(each, _Other)]
    if others and func not in _MOVES and any(each.ndim and not isinstance(each, _Other) for each in tensors):
        raise DevicesMixed(f"{func} was given tensors of two devices")
    target = kwargs.get("device")
    inner_args, inner_kwargs = tree_map_only(_Other, lambda each: each.here, (args, dict(kwargs)))
    if target is not None and torch.device(target) == DEVICE:
        inner_kwargs["device"] = torch.device("cpu")
    out = func(*inner_args, **inner_kwargs)
    stays = isinstance(args[0], _Other) if func is _MOVES[0] else bool(others)
    is_other = torch.device(target) == DEVICE if target is not None else stays
    if not is_other:
        return out
    wrapped = tree_map_only(Tensor, _Other, out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if others else wrapped


@contextmanager
def other_device() -> Iterator[torch.device]:
    """Inside, there is a second device."""
    with _Numbers(), _Watch():
        yield DEVICE


def move_there(module: nn.Module) -> None:
    """All parameters and buffers of ``module``, in place."""
    for each in module.modules():
        for name, parameter in list(each.named_parameters(recurse=False)):
            each._parameters[name] = nn.Parameter(_Other(parameter.detach().clone()), requires_grad=parameter.requires_grad)
        for name, buffer in list(each.named_buffers(recurse=False)):
            each._buffers[name] = _Other(buffer.detach().clone())
