"""Load a checkpoint folder: checked tensor by tensor, weights only, never running code from the folder."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, ProcessorMixin

from ixc.errors import CheckpointError, OutOfMemory, SettingsError
from ixc.models.attention import attention_implementation
from ixc.models.families import FAMILIES, family_of_config, family_of_raw_config
from ixc.models.placement import Placement, device_map_for
from ixc.models.precision import Precision, check_precision, load_dtype, quantise
from ixc.models.weight_files import first_line, read_json, read_shapes, refuse_pointer, weight_files

_CHOSEN_HERE = frozenset(
    {
        "auto_map",
        "transformers_weights",
        "fusion_config",
        "per_layer_config",
        "distributed_config",
        "attn_implementation",
        "experts_implementation",
    }
)
"""What a config.json may say to transformers of how and from which files to load; here the program decides."""
_QUANTISED_BY = ("quantization_config", "compression_config")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model ready to run, with its processor and its own generation defaults (None: it brings none)."""

    model: PreTrainedModel
    processor: ProcessorMixin
    generation_config: GenerationConfig | None


def load_checkpoint(folder: Path, device: torch.device | Placement, precision: Precision = Precision.AUTO) -> Checkpoint:
    """Load ``folder`` straight to ``device`` (or spread, by a Placement) in the wanted precision.

    Pickled shards are read with weights-only unpickling. Raises CheckpointError, naming the file or the tensor, when the folder
    is missing, incomplete, damaged, hostile or of another model; SettingsError when precision or placement are not to be had;
    OutOfMemory.
    """
    placement = device if isinstance(device, Placement) else Placement(device)
    check_precision(precision, placement.device)
    config = read_config(folder)
    files = weight_files(folder)
    shapes = read_shapes(files)
    empty_model = check_tensors(config, shapes, folder)
    processor, generation_config = load_processor(folder, config), _read_generation_config(folder)
    if placement.is_split and precision.is_quantised:
        raise SettingsError(f"The precision {precision} needs the model on one device; leave IXC_DEVICE=split out.")
    num_parameters = sum(math.prod(shape) for shape in shapes.values())
    dtype = load_dtype(precision, placement.device, num_parameters)
    device_map = {"": torch.device("cpu")} if precision.is_quantised else device_map_for(empty_model.to(dtype), placement)
    # accelerate takes a map's single parameters for a mistake: it looks for modules only.
    warnings.filterwarnings("ignore", "The following device_map keys do not match any submodules")
    try:
        model, report = family_of_config(config).model_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            device_map=device_map,
            attn_implementation=attention_implementation(placement.device, dtype),
            offload_folder=placement.offload_folder,
            local_files_only=True,
            use_safetensors=files[0].suffix == ".safetensors",
            weights_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(_too_large_sentence(folder)) from error
    except Exception as error:  # of transformers, accelerate, torch and safetensors
        if "allocate memory" in str(error):  # PyTorch's plain RuntimeError for a failed allocation on a CPU
            raise OutOfMemory(_too_large_sentence(folder)) from error
        raise CheckpointError(f"The weights in {folder} cannot be loaded: {first_line(error)}.") from error
    _check_report(report, folder)
    if precision.is_quantised:
        try:
            quantise(model, precision, placement.device)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(_too_large_sentence(folder)) from error
    return Checkpoint(model.eval(), processor, generation_config)


def _check_report(report: Mapping[str, Any], folder: Path) -> None:
    """Every tensor was compared before; whether transformers loaded these and no others, it says. Raises CheckpointError."""
    wrong = [(kind, str(name)) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in report[kind]]
    wrong += [("error_msgs", str(message)) for message in report["error_msgs"]]
    if wrong:
        kind, name = min(wrong)
        raise CheckpointError(
            f"The weights in {folder} were not loaded as they are ({kind.replace('_', ' ')}: {name}); copy or download the "
            "checkpoint again."
        )


def _read_generation_config(folder: Path) -> GenerationConfig | None:
    path = folder / "generation_config.json"
    if not path.is_file():
        return None
    try:
        return GenerationConfig.from_pretrained(folder)
    except Exception as error:  # as many kinds as a configuration has ways to be wrong
        raise CheckpointError(f"{path} is not a usable configuration: {first_line(error)}.") from error


def _empty_model(config: PreTrainedConfig, folder: Path) -> PreTrainedModel:
    """The architecture on the meta device. Raises CheckpointError for a configuration that no model can be built from."""
    try:
        with torch.device("meta"):  # for this thread alone; another one may be loading
            return family_of_config(config).model_class(config)
    except Exception as error:  # sizes that cannot be, names of activations that nobody knows
        raise CheckpointError(f"{folder / 'config.json'} is not a usable configuration: {first_line(error)}.") from error


def check_tensors(config: PreTrainedConfig, shapes: Mapping[str, tuple[int, ...]], folder: Path) -> PreTrainedModel:
    """Compare a checkpoint's tensors with what ``config`` needs. Raises CheckpointError naming the first that is wrong.

    Returns the model that was compared with, on the meta device.
    """
    num_layers = config.num_hidden_layers + config.vision_config.num_hidden_layers
    if num_layers > len(shapes):  # a layer has several tensors; to build 100 million of them takes all memory
        raise CheckpointError(
            f"The checkpoint in {folder} has {len(shapes)} tensors and its config.json asks for {num_layers} layers; the files "
            "do not belong together."
        )
    model = _empty_model(config, folder)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for kind, names in (
        ("lacks the tensor", sorted(expected.keys() - shapes.keys())),
        ("has a tensor this model does not know,", sorted(shapes.keys() - expected.keys())),
    ):
        if names:
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"The checkpoint in {folder} {kind} {names[0]}{others}; it may be damaged or of another model."
            )
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise CheckpointError(
                f"The checkpoint in {folder} has {name} with shape {list(shapes[name])} where its config.json asks for "
                f"{list(shape)}; the files do not belong together."
            )
    return model


def read_config(folder: Path) -> PreTrainedConfig:
    """The folder's configuration, official or our own. Raises CheckpointError."""
    if not folder.is_dir():
        raise CheckpointError(f"There is no model folder {folder}; give the path of a checkpoint folder.")
    path = folder / "config.json"
    try:
        raw = read_json(path)
    except FileNotFoundError:
        raise CheckpointError(f"{folder} has no config.json; it is not a checkpoint folder.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}.") from error
    family = family_of_raw_config(raw) if isinstance(raw, dict) else None
    if family is None:
        model_type = raw.get("model_type") if isinstance(raw, dict) else None
        known = " and ".join(f"{family.name} ({family.model_types[0]!r})" for family in FAMILIES)
        raise CheckpointError(f"{folder} holds a model of type {model_type!r}; this program runs {known} checkpoints.")
    vision = raw.get("vision_config")
    for part in (raw, vision if isinstance(vision, dict) else {}):
        if method := next((name for name in _QUANTISED_BY if part.get(name)), None):
            raise CheckpointError(
                f"{path} says that the weights are quantised ({method}), and this program quantises by itself; take the "
                "checkpoint that is not, and set IXC_PRECISION=int8 or int4."
            )
    settings = _without_loading(raw) | ({"vision_config": _without_loading(vision)} if isinstance(vision, dict) else {})
    settings.pop("model_type")
    try:
        return family.config_class.from_dict(settings)
    except Exception as error:  # the config's own validation raises many kinds
        raise CheckpointError(f"{path} is not a usable configuration: {first_line(error)}.") from error


def _without_loading(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What describes the model. Names with an underscore are transformers' own notes, such as whose code attends."""
    hidden = (*_CHOSEN_HERE, *_QUANTISED_BY)
    return {name: value for name, value in settings.items() if name not in hidden and not name.startswith("_")}


def load_processor(folder: Path, config: PreTrainedConfig) -> ProcessorMixin:
    """The folder's processor; for the official layout the reference's, around its tokenizer file. Raises CheckpointError."""
    family = family_of_config(config)
    if not (folder / family.tokenizer_file).is_file():
        raise CheckpointError(f"{folder} has no {family.tokenizer_file}; copy or download the checkpoint again.")
    refuse_pointer(folder / family.tokenizer_file)
    try:
        if (folder / "processor_config.json").is_file():
            return family.processor_class.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return family.make_processor(folder, config)
    except Exception as error:  # tokenizers' and transformers' own, of many kinds
        raise CheckpointError(f"The tokenizer or processor in {folder} cannot be loaded: {first_line(error)}.") from error


def _too_large_sentence(folder: Path) -> str:
    return (
        f"The weights in {folder} do not fit this device's memory; set IXC_PRECISION=int8 or int4, or IXC_DEVICE=split to "
        "spread them over GPUs and CPU."
    )
