"""A safetensors copy of a checkpoint: loads faster, cannot hold code, and has our config and processor files beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ixc.errors import CheckpointError
from ixc.models.checkpoints import check_tensors, load_processor, read_config
from ixc.models.weight_files import first_line, read_shapes, weight_files


def convert_checkpoint(source: Path, target: Path, on_file: Callable[[int, int], None] | None = None) -> list[Path]:
    """Write ``source`` as safetensors into the new folder ``target``, file by file, keeping every tensor's dtype.

    Holds one weight file in memory at a time. ``on_file`` is called with (files done, files in all). Returns the weight files
    written. Raises CheckpointError when ``source`` is not a whole checkpoint or ``target`` is not empty, OSError when it cannot
    be written.
    """
    if target.exists() and any(target.iterdir()):
        raise CheckpointError(f"The folder {target} is not empty; give a new one.")
    config, files = read_config(source), weight_files(source)
    check_tensors(config, read_shapes(files), source)
    processor = load_processor(source, config)
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        _write_weights(files, target, written, on_file)
    except (CheckpointError, OSError) as error:
        if isinstance(error, CheckpointError):
            for path in written:
                path.unlink()
        with suppress(OSError):  # something is in it, which may be of use
            target.rmdir()
        raise
    config.save_pretrained(target)
    processor.save_pretrained(target)
    generation_config = source / "generation_config.json"
    if generation_config.is_file():
        (target / generation_config.name).write_bytes(generation_config.read_bytes())
    return written


def _write_weights(
    files: Sequence[Path], target: Path, written: list[Path], on_file: Callable[[int, int], None] | None
) -> None:
    """Adds to ``written`` as it goes. Raises CheckpointError for a file that cannot be read after all, OSError."""
    weight_map, num_bytes = {}, 0
    for index, path in enumerate(files, start=1):
        name = "model.safetensors" if len(files) == 1 else f"model-{index:05d}-of-{len(files):05d}.safetensors"
        try:
            tensors = _read(path)
            save_file(tensors, target / name, metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk, for example
            raise OSError(str(error)) from error
        except RuntimeError as error:
            raise CheckpointError(f"The weight file {path} cannot be copied: {first_line(error)}.") from error
        weight_map |= dict.fromkeys(tensors, name)
        num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        written.append(target / name)
        if on_file:
            on_file(index, len(files))
    if len(files) > 1:
        index_file = {"metadata": {"total_size": num_bytes}, "weight_map": weight_map}
        (target / "model.safetensors.index.json").write_text(json.dumps(index_file, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Tensors that share no memory: safetensors takes each with its own, and pickles may tie them or cut them from one."""
    if path.suffix == ".safetensors":
        return load_file(path)
    tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    places: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.contiguous() if place not in places else tensor.clone(memory_format=torch.contiguous_format)
        places.add(place)
    return tensors
