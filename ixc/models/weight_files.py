"""A checkpoint folder's weight files: which they are, and what they hold; read without running anything from the folder."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ixc.errors import CheckpointError

logger = logging.getLogger(__name__)

_WEIGHT_NAMES = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""Single file, or index of shards: in the order in which transformers looks for them, which then reads what was checked here.
Safetensors first; the official repository has pickled shards."""

_FORMATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""By the names safetensors has for them. Whole numbers and 8 bits are quantised weights without their scales: noise."""
_POINTER_BEGINS = b"version https://git-lfs"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, the very ones that transformers reads, even if missing. Raises CheckpointError."""
    _refuse_what_is_read_besides(folder)
    for single_name, index_name in _WEIGHT_NAMES:
        if (folder / single_name).is_file():
            if (folder / index_name).is_file():
                logger.warning("%s has both %s and %s; the first one is read", folder, single_name, index_name)
            return [folder / single_name]
        index = folder / index_name
        if not index.is_file():
            continue
        try:
            content = read_json(index)
            names = sorted(set(content["weight_map"].values()))
            is_of_its_kind = all(Path(name).suffix == Path(single_name).suffix for name in names) and names
            is_usable = "metadata" in content and is_of_its_kind and all(Path(name).name == name for name in names)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(f"{index} is damaged; copy or download the checkpoint again.") from error
        if not is_usable:  # transformers would look for a path wherever it leads
            raise CheckpointError(
                f"{index} names weights outside its folder or of another kind, or lacks its metadata; do not use it."
            )
        return [folder / name for name in names]
    names = " or ".join(name for pair in _WEIGHT_NAMES for name in pair)
    raise CheckpointError(f"{folder} has no weights ({names}); copy or download the checkpoint again.")


def read_shapes(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors, without reading the weights.

    Raises CheckpointError, naming the file, and the tensor that is no floating-point weight.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            refuse_pointer(path)
            shapes |= _shapes_of_safetensors(path) if path.suffix == ".safetensors" else _shapes_of_pickle(path)
        except CheckpointError:
            raise
        except FileNotFoundError:
            raise CheckpointError(f"The weight file {path} is missing; copy or download the checkpoint again.") from None
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"The weight file {path} is damaged or holds more than tensors, which could run code; do not use it."
            ) from error
        except Exception as error:  # what a damaged pickle makes of itself is of every kind
            raise CheckpointError(
                f"The weight file {path} is damaged or incomplete ({first_line(error)}); copy or download it again."
            ) from error
    return shapes


def read_json(path: Path) -> Any:
    """A JSON file's content. Raises OSError, ValueError also for one that is nested too deep, CheckpointError for a pointer."""
    refuse_pointer(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def refuse_pointer(path: Path) -> None:
    """Raises CheckpointError where a clone without git-lfs has a few lines in the file's place; OSError."""
    with path.open("rb") as file:
        is_pointer = file.read(len(_POINTER_BEGINS)) == _POINTER_BEGINS
    if is_pointer:
        raise CheckpointError(
            f"{path} is not the file itself but a git-lfs pointer to it; run git lfs pull in the folder, or download the file."
        )


def _refuse_what_is_read_besides(folder: Path) -> None:
    """transformers adds an adapter to the weights (where peft is installed) and prefers the shards of a distributed save."""
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(
            f"{folder} holds an adapter (adapter_config.json), which this program does not apply; merge it into the weights, "
            "or move that file away."
        )
    if shard := next(folder.glob("shard-*-model-*-of-*.safetensors"), None):
        raise CheckpointError(
            f"{folder} holds the shards of a distributed save ({shard.name}), which this program does not read; save the model "
            "whole, or move them away."
        )


def _shapes_of_safetensors(path: Path) -> dict[str, tuple[int, ...]]:
    shapes = {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118  not a mapping
            tensor = file.get_slice(name)
            if tensor.get_dtype() not in _FORMATS:
                raise _not_a_weight(path, name, tensor.get_dtype())
            shapes[name] = tuple(tensor.get_shape())
    return shapes


def _shapes_of_pickle(path: Path) -> dict[str, tuple[int, ...]]:
    tensors = torch.load(path, map_location="meta", weights_only=True)
    if not isinstance(tensors, dict):
        raise TypeError(f"it holds {type(tensors).__name__} in place of tensors by name")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError(f"its {name!r:.80} is {type(tensor).__name__} in place of a tensor")
        if tensor.dtype not in _FORMATS.values() or tensor.layout is not torch.strided:
            form = tensor.dtype if tensor.layout is torch.strided else tensor.layout
            raise _not_a_weight(path, name, str(form).removeprefix("torch."))
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _not_a_weight(path: Path, name: str, form: str) -> CheckpointError:
    return CheckpointError(
        f"The weight file {path} holds {name} as {form}, and weights must be dense {', '.join(_FORMATS)}; take the checkpoint "
        "that is neither quantised nor sparse."
    )


def first_line(error: BaseException) -> str:
    """Of what an error says; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
