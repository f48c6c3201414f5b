"""Configuration. Field names are the official config.json's; what the official code hard-codes has fields of its own here."""

from __future__ import annotations

from huggingface_hub.dataclasses import strict
from transformers import CLIPVisionConfig, PreTrainedConfig

_CLIP_VIT_L_336 = {
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
class XComposer2Config(PreTrainedConfig):
    """InternLM2 with Partial LoRA over a CLIP vision tower; the defaults are the 4KHD 7B.

    The official config.json names no vision tower and no PLoRA ranks: its code hard-codes CLIP ViT-L/14-336, rank and alpha
    256, and for 4KHD's ``wqkv`` rank 8 and alpha 16 (reference/ixc2_4khd/README.md, "PLoRA"). With ``img_size`` it is the
    standard model, InternLM-XComposer2-VL: one view, 256 for ``wqkv`` too (reference/ixc2_vl/README.md).
    """

    model_type = "internlmxcomposer2"
    keys_to_ignore_at_inference = ("past_key_values",)
    sub_configs = {"vision_config": CLIPVisionConfig}  # noqa: RUF012 - the base class wants a plain dict

    vocab_size: int = 92544
    hidden_size: int = 4096
    intermediate_size: int = 14336
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    hidden_act: str = "silu"
    max_position_embeddings: int = 32768
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-5
    rope_theta: int | float = 1_000_000
    use_cache: bool = True
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    pad_token_id: int | None = 2
    tie_word_embeddings: bool = False

    plora_rank: int = 256
    plora_alpha: int = 256
    plora_wqkv_rank: int | None = None
    plora_wqkv_alpha: int | None = None
    """None for both: the released values, 8 and 16 with tiles, those of the other linears with a single view."""
    plora_dropout: float = 0.05
    max_context_tokens: int = 16384
    """The official ``max_length``: longer prompts are refused."""
    image_token_id: int | None = None
    """Placeholder id for one visual token in ``input_ids``: ``[UNUSED_TOKEN_144]``, third from the end of the vocabulary."""
    img_size: int | None = None
    """Side of the single view in pixels (490 in the released VL model); None: the image is cut into tiles."""
    vision_config: dict | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs: object) -> None:
        kwargs.pop("rope_scaling", None)  # null in the official file; transformers would replace rope_theta by it
        kwargs.pop("attn_implementation", None)  # flash_attention_2 in the official file; what runs here, the loader decides
        max_length = kwargs.pop("max_length", None)  # a generation setting to transformers, the context limit here
        if isinstance(max_length, int):
            self.max_context_tokens = max_length
        self.use_cache = True  # false in the official file, a leftover of training
        if self.vision_config is None:
            self.vision_config = dict(_CLIP_VIT_L_336)
        if isinstance(self.vision_config, dict):
            self.vision_config = CLIPVisionConfig(**self.vision_config)
        if self.img_size is not None:
            # The checkpoint brings a position table of this size; the official code grows CLIP's before loading it.
            self.vision_config.image_size = self.img_size
        if self.plora_wqkv_rank is None:
            self.plora_wqkv_rank = 8 if self.is_tiled else self.plora_rank
        if self.plora_wqkv_alpha is None:
            self.plora_wqkv_alpha = 16 if self.is_tiled else self.plora_alpha
        if self.image_token_id is None:
            self.image_token_id = self.vocab_size - 3
        super().__post_init__(**kwargs)
        # Official files name InternLM2's class, or that of their own code; other programs choose the model by it.
        self.architectures = ["XComposer2ForCausalLM"]

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def is_tiled(self) -> bool:
        """Tiles, 2x2 merge, newline and separator (4KHD), or one view without them (VL)."""
        return self.img_size is None

    @property
    def visual_width(self) -> int:
        """E, what the projector takes: four neighbouring patches concatenated, or one patch of a single view."""
        return self.vision_config.hidden_size * (4 if self.is_tiled else 1)

    def validate_architecture(self) -> None:
        """Called by the base class. Raises ValueError."""
        if self.hidden_size % self.num_attention_heads or self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size}, num_attention_heads {self.num_attention_heads} and num_key_value_heads "
                f"{self.num_key_value_heads} must divide each other in this order"
            )
