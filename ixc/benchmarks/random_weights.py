"""The 7B at its full size with random weights: as fast and as large as the real one, without downloading it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from ixc.models.attention import attention_implementation
from ixc.models.checkpoints import Checkpoint, load_processor, read_config
from ixc.models.placement import Placement
from ixc.models.precision import Precision, load_dtype, quantise
from ixc.models.presets import NANO
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ForCausalLM

SEED = 0


def full_size_config() -> XComposer2Config:
    """InternLM-XComposer2-4KHD 7B: the defaults."""
    return XComposer2Config()


def small_config() -> XComposer2Config:
    """The same architecture, a thousandth of the size: to try on a CPU what is meant for a GPU."""
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    return XComposer2Config(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        plora_rank=16,
        plora_alpha=16,
        vision_config={"image_size": 336, "patch_size": 14, "hidden_act": "quick_gelu", **vision},
    )


def write_folder(config: XComposer2Config, folder: Path) -> Path:
    """A checkpoint folder without weights: this configuration, the small model's tokenizer and processor."""
    config.save_pretrained(folder)
    for name in ("tokenizer.model", "tokenizer_config.json", "processor_config.json", "chat_template.jinja"):
        shutil.copy(Path(NANO.source) / name, folder / name)
    return folder


def random_checkpoint(folder: Path, placement: torch.device | Placement, precision: Precision = Precision.AUTO) -> Checkpoint:
    """Takes the place of ``load_checkpoint``: made on its device, in its final dtype, the same on every call.

    Raises SettingsError when the precision is not to be had.
    """
    device = placement.device if isinstance(placement, Placement) else placement
    config = read_config(folder)
    with torch.device("meta"):
        num_parameters = sum(parameter.numel() for parameter in XComposer2ForCausalLM(config).parameters())
    model = random_model(config, device, load_dtype(precision, device, num_parameters))
    processor = load_processor(folder, config)
    with torch.no_grad():
        # The small tokenizer knows the first ids only. The largest of their logits is above 0, so no other is ever chosen.
        model.output.weight[processor.tokenizer.vocab_size :] = 0
    if precision.is_quantised:
        quantise(model, precision, device)
    return Checkpoint(model, processor, None)


def random_model(
    config: XComposer2Config, device: torch.device, dtype: torch.dtype, value_dtype: torch.dtype | None = None
) -> XComposer2ForCausalLM:
    """Weights that keep activations near 1 through all layers: else a comparison of two precisions would say nothing.

    They are drawn in ``value_dtype`` (None: ``dtype``) by one generator on ``device``, tensor by tensor.
    """
    config._attn_implementation = attention_implementation(device, dtype)  # as a checkpoint is loaded
    with torch.device("meta"):
        model = XComposer2ForCausalLM(config)
    model = model.to(dtype).to_empty(device=device).eval()
    generator = torch.Generator(device).manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.empty(parameter.shape, device=device, dtype=value_dtype or dtype)
            _fill(name, generator)(values)
            parameter.copy_(values)
        for name, buffer in model.named_buffers():
            if not name.endswith("position_ids"):
                raise RuntimeError(f"no values are known for the buffer {name}")
            buffer.copy_(torch.arange(buffer.shape[-1], device=device).expand_as(buffer))
    return model


def _fill(name: str, generator: torch.Generator) -> Callable[[torch.Tensor], object]:
    """How a parameter is drawn: norms are 1, biases 0, matrices keep the variance of their input, halved by each residual."""

    def normal(values: torch.Tensor) -> object:
        fan_in = values[0].numel() if values.dim() > 1 and "embedding" not in name else 1
        return values.normal_(0.0, fan_in**-0.5, generator=generator)

    if name.endswith("bias"):
        return torch.Tensor.zero_
    if "norm" in name or "layrnorm" in name:
        return lambda values: values.fill_(1.0)
    return normal
