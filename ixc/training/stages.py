"""What a stage is to the training loop, and the things all stages share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, distributed, nn

from ixc.cores import usable_cores
from ixc.models.xcomposer2 import InternLM2Tokenizer, XComposer2ForCausalLM, XComposer2ImageProcessor, XComposer2Processor
from ixc.training.codebook import Codebook
from ixc.training.config import StageConfig, TrainingConfig
from ixc.training.initial import EYES, initial_model, start_from
from ixc.training.initial_language import prepare_reading
from ixc.training.vocabulary import IMAGE_TOKEN, write_tokenizer_model

Batch = dict[str, object]
_SEED_STRIDE = 1000


class Stage(Protocol):
    """One stage of training. ``make_batch`` runs in a worker process and depends on nothing but the step."""

    name: str
    config: StageConfig
    extra: nn.Module
    """What trains along and is not part of the model; its parameters are called ``extra.*``."""

    def make_batch(self, step: int) -> Batch: ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]: ...

    def learning_rate_scale(self, name: str) -> float: ...


@dataclass(frozen=True, slots=True)
class Kit:
    """The model under training, its processor and the codebook."""

    config: TrainingConfig
    model: XComposer2ForCausalLM
    processor: XComposer2Processor
    codebook: Codebook
    data_seed: int
    """Of the documents; another one in each of several processes that train together."""

    @classmethod
    def make(cls, config: TrainingConfig, folder: Path) -> Kit:
        """A fresh kit on the device that trains; the tokenizer file is written into ``folder``. Raises CheckpointError."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "tokenizer.model"
        write_tokenizer_model(path)
        tokenizer = InternLM2Tokenizer(str(path))
        image_processor = XComposer2ImageProcessor(max_patches=config.default_max_patches)
        processor = XComposer2Processor(image_processor, tokenizer, default_system="", sees_one_image=True)
        model_config = config.model_config(len(tokenizer), tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
        model = initial_model(model_config, config.seed)
        codebook = Codebook(config.num_slots, model_config.hidden_size)
        prepare_reading(model, tokenizer, codebook)
        if config.eyes_from:
            start_from(model, Path(config.eyes_from), EYES)
        if config.start_from:
            start_from(model, Path(config.start_from))
        model.to(training_device())
        return cls(config, model, processor, codebook, data_seed(config.seed))


def generator_for(seed: int, stage: str, step: int, row: int = 0) -> np.random.Generator:
    """The random numbers of one row of one batch: from the counter alone, so that a resumed run sees the same data."""
    return np.random.default_rng([seed, *stage.encode(), step, row])


def data_seed(seed: int) -> int:
    """Of a run's documents in this process: those that train together draw different ones."""
    return seed + _SEED_STRIDE * process_rank()


def process_rank() -> int:
    """Number of this process among those that train together; 0 where there is one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def num_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def num_cores() -> int:
    """Cores for this process: those of the machine that it may use, shared with the processes that train beside it."""
    return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))  # set by torchrun


def training_device() -> torch.device:
    """This process's GPU; the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())  # set by torchrun


def bfloat16(module: nn.Module) -> torch.autocast:
    """bfloat16 where the numbers allow it, on whatever device the module is."""
    return torch.autocast(next(module.parameters()).device.type, torch.bfloat16)
