"""Small real checkpoints for tests, made from the reference's random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from ixc.models.xcomposer2 import (
    InternLM2Tokenizer,
    XComposer2Config,
    XComposer2ForCausalLM,
    XComposer2ImageProcessor,
    XComposer2Processor,
)

DATA = Path(__file__).parent / "data"
REFERENCE = DATA / "ixc2_4khd"
VL_REFERENCE = DATA / "ixc2_vl"
TOKENIZER_FILE = DATA / "tokenizer" / "tokenizer.model"


def tiny_config(reference: Path = REFERENCE) -> XComposer2Config:
    """A reference's tiny configuration, the constants its code hard-codes included."""
    official = json.loads((reference / "config.json").read_text())
    hard_coded = official.pop("_tiny_parameters_hard_coded_in_the_official_code")
    for transformers_own in ("architectures", "attn_implementation", "torch_dtype", "model_type", "transformers_version"):
        official.pop(transformers_own, None)
    return XComposer2Config(
        **official,
        plora_rank=hard_coded["plora_r"],
        plora_alpha=hard_coded["plora_alpha"],
        vision_config=hard_coded["tiny_clip"],
    )


def tiny_model(reference: Path = REFERENCE) -> XComposer2ForCausalLM:
    """A reference's tiny model, float32, in eval mode. Its vocabulary has 512 ids."""
    model = XComposer2ForCausalLM(tiny_config(reference))
    model.load_state_dict(load_file(reference / "weights.safetensors"), strict=True)
    return model.eval()


def real_tokenizer() -> InternLM2Tokenizer:
    """InternLM2's own tokenizer, 92,544 pieces."""
    return InternLM2Tokenizer(str(TOKENIZER_FILE))


def write_chat_checkpoint(
    folder: Path, seed: int = 0, reference: Path = REFERENCE, *, sees_one_image: bool = False, **changes: object
) -> Path:
    """A loadable folder with the real tokenizer: the tiny reference layers under a vocabulary of 92,544 random rows.

    Its answers are noise that depends on every input token: wrong text shows at once, right text cannot be guessed. They go on
    until they are cut or stopped. With
    ``VL_REFERENCE`` it looks once, at 490 pixels. ``changes`` are the configuration's.
    """
    config = tiny_config(reference)
    for name, value in changes.items():
        setattr(config, name, value)
    config.vocab_size, config.image_token_id = 92544, 92541
    model = XComposer2ForCausalLM(config)
    weights = load_file(reference / "weights.safetensors")
    generator = torch.Generator().manual_seed(seed)
    for key in ("model.tok_embeddings.weight", "output.weight"):
        weights[key] = torch.randn(92544, config.hidden_size, generator=generator)
    weights["output.weight"][[2, 92542]] = 0.0  # the ends of a turn: noise goes on until it is cut or stopped
    model.load_state_dict(weights, strict=True)
    model.generation_config.eos_token_id = [2, 92542]
    model.save_pretrained(folder)
    image_processor = XComposer2ImageProcessor(max_patches=4, img_size=config.img_size)
    XComposer2Processor(image_processor, real_tokenizer(), sees_one_image=sees_one_image).save_pretrained(folder)
    return folder
