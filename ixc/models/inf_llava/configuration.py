"""Configuration: Llama's fields, the vision tower's, and what the released code hard-codes."""

from __future__ import annotations

from huggingface_hub.dataclasses import strict
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedConfig

from ixc.dual_perspective import CUTS_PER_SIDE

OFFICIAL_MODEL_TYPE = "llava_llama"
"""LLaVA's, on which the released code is built (inferred: the published config.json was not seen)."""
CLIP_VIT_L_336 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 768,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}


@strict
class InfLlavaConfig(LlamaConfig):
    """INF-LLaVA (arXiv 2407.16198): Llama 3 over a CLIP tower with dual-perspective enhancement; the defaults are the 8B."""

    model_type = "inf_llava"
    sub_configs = {"vision_config": CLIPVisionConfig}  # noqa: RUF012 - the base class wants a plain dict

    vocab_size: int = 128257
    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 8192
    rms_norm_eps: float = 1e-5
    bos_token_id: int | None = 128000
    eos_token_id: int | list[int] | None = 128009
    pad_token_id: int | None = None

    vision_config: dict | PreTrainedConfig | None = None
    cuts_per_side: int = CUTS_PER_SIDE
    """N of the dual-perspective cropping; the released code has 3 hard-coded."""
    enhancement_heads: int = 8
    max_context_tokens: int = 2048
    """The released ``tokenizer_model_max_length``: what lies beyond is cut off there and refused here."""
    image_placeholder: int = -200
    """Placeholder of a visual token in ``input_ids``; lies outside the vocabulary, so that no text can contain it."""

    def __post_init__(self, **kwargs: object) -> None:
        kwargs.pop("attn_implementation", None)  # what runs here, the loader decides
        max_length = kwargs.get("tokenizer_model_max_length")
        if isinstance(max_length, int):
            self.max_context_tokens = max_length
        if self.vision_config is None:
            self.vision_config = dict(CLIP_VIT_L_336)
        if isinstance(self.vision_config, dict):
            self.vision_config = CLIPVisionConfig(**self.vision_config)
        if self.rope_parameters is None:
            kwargs.setdefault("rope_theta", 500_000.0)
        super().__post_init__(**kwargs)

    @property
    def visual_width(self) -> int:
        """What the projector takes."""
        return self.vision_config.hidden_size

    def validate_architecture(self) -> None:
        """Called by the base class. Raises ValueError."""
        super().validate_architecture()
        if self.vision_config.hidden_size % self.enhancement_heads:
            raise ValueError(
                f"the vision tower's width {self.vision_config.hidden_size} is not a multiple of the {self.enhancement_heads} "
                "heads of the dual-perspective enhancement"
            )
