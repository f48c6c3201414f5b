"""The whole model: vision tower, newline and separator, projector, language model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils.output_capturing import capture_outputs

from ixc.models.xcomposer2.blocked_cache import BlockedCache, BlockedLayer
from ixc.models.xcomposer2.chunk_attention import attends_without_mask
from ixc.models.xcomposer2.configuration import XComposer2Config
from ixc.models.xcomposer2.language import Attention, DecoderLayer, RMSNorm, RotaryTables
from ixc.models.xcomposer2.spans import VisualSpans
from ixc.models.xcomposer2.vision import ImageEncoding, VisionTower
from ixc.tiling import Grid


def run_layer(layer: DecoderLayer, hidden_BSD: Tensor, rotary: tuple[Tensor, Tensor], blocks: BlockedLayer) -> Tensor:
    """One layer of a decoding step. A function of its own, so that it can be compiled once for all layers."""
    return layer(hidden_BSD, rotary, None, blocks, None)


class XComposer2PreTrainedModel(PreTrainedModel):
    """What transformers needs to know about these models."""

    config_class = XComposer2Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ("DecoderLayer", "CLIPEncoderLayer", "CLIPVisionEmbeddings")
    _skip_keys_device_placement = ("past_key_values",)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": DecoderLayer, "attentions": Attention}  # noqa: RUF012

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, XComposer2ForCausalLM):
            for parameter in (module.plora_glb_GN, module.plora_sub_GN):
                if parameter is not None:
                    nn.init.normal_(parameter, std=self.config.initializer_range)


class InternLM2Model(XComposer2PreTrainedModel):
    """The language model's body."""

    def __init__(self, config: XComposer2Config) -> None:
        super().__init__(config)
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(DecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary = RotaryTables(config)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.tok_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.tok_embeddings = value

    @capture_outputs
    def forward(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        visual_spans: VisualSpans | None = None,
        **kwargs: object,
    ) -> BaseModelOutputWithPast:
        """[B, S, D] -> last_hidden_state [B, S, D] after the final norm.

        Without ``position_ids`` positions count on from the cache, also under padding (as the reference's plain forward).
        """
        length = inputs_embeds.shape[1]
        if position_ids is None:
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            rotary = self.rotary.consecutive(past, past + length, inputs_embeds)
        else:
            rotary = self.rotary.at(position_ids, inputs_embeds)
        mask = None
        needs_mask = length > 1 and not attends_without_mask(self.config, inputs_embeds, past_key_values)
        if needs_mask or attention_mask is not None:  # a single new token sees everything before it
            mask = create_causal_mask(self.config, inputs_embeds, attention_mask, past_key_values)
        hidden_BSD = inputs_embeds
        for layer in self.layers:
            hidden_BSD = layer(hidden_BSD, rotary, mask, past_key_values, visual_spans, **kwargs)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_BSD), past_key_values=past_key_values)

    def decode_step(self, cache: BlockedCache, num_blocks: int, run_layer: Callable = run_layer) -> Tensor:
        """Run ``cache.token_1`` at ``cache.position_1`` -> hidden state after the final norm [D]; text tokens only.

        Shapes, addresses and the work itself depend on ``num_blocks`` alone, and nothing waits for the device.
        """
        hidden_BSD = self.tok_embeddings(cache.token_1)[None]
        rotary = cache.rotary()
        place = cache.place(num_blocks)
        for index, layer in enumerate(self.layers):
            hidden_BSD = run_layer(layer, hidden_BSD, rotary, cache.layer(index, place))
        return self.norm(hidden_BSD)[0, 0]


class XComposer2ForCausalLM(ImageEncoding, XComposer2PreTrainedModel, GenerationMixin):
    """InternLM-XComposer2-4KHD, or the single-view VL model by its config. Parameter names are the official checkpoint's.

    ``plora_sub_GN`` is the newline vector and ``plora_glb_GN`` the separator: the names look swapped, the checkpoint is so.
    """

    def __init__(self, config: XComposer2Config) -> None:
        super().__init__(config)
        width_E = config.visual_width
        self.plora_glb_GN = nn.Parameter(torch.zeros(1, 1, width_E)) if config.is_tiled else None
        self.plora_sub_GN = nn.Parameter(torch.zeros(1, 1, 1, width_E)) if config.is_tiled else None
        self.model = InternLM2Model(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.vit = VisionTower(config.vision_config)
        self.vision_proj = nn.Sequential(
            nn.Linear(width_E, config.hidden_size), nn.GELU(), nn.Linear(config.hidden_size, config.hidden_size)
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.tok_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.model.tok_embeddings = value

    def get_output_embeddings(self) -> nn.Linear:
        return self.output

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.output = value

    # --- images ---------------------------------------------------------------------------------------------------

    def embed(
        self, input_ids_BS: Tensor, tiles_NCHW: Tensor | None, image_grids_N2: Tensor | None
    ) -> tuple[Tensor, VisualSpans | None]:
        """Ids with image placeholders -> embeddings [B, S, D] and the spans of the visual tokens.

        Images fill the placeholders in order, row by row. Raises ValueError when their numbers of tokens differ, or when only
        one of tiles and grids is given.
        """
        if (tiles_NCHW is None) != (image_grids_N2 is None):
            raise ValueError("give tiles and image_grids together")
        embeds_BSD = self.model.tok_embeddings(input_ids_BS)
        im_mask_BS = input_ids_BS == self.config.image_token_id
        spans = VisualSpans.from_mask(im_mask_BS)
        images = []
        if tiles_NCHW is not None:
            images = self.encode_images(tiles_NCHW, [Grid(rows, cols) for rows, cols in image_grids_N2.tolist()])
        num_features = sum(image.shape[0] for image in images)
        if num_features != spans.num_tokens:
            raise ValueError(f"the images have {num_features} visual tokens, the prompt has places for {spans.num_tokens}")
        if not images:
            return embeds_BSD, None
        features = torch.cat(images).to(embeds_BSD)
        return embeds_BSD.masked_scatter(im_mask_BS[..., None], features), spans

    # --- language -------------------------------------------------------------------------------------------------

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        im_mask: Tensor | None = None,
        visual_spans: VisualSpans | None = None,
        tiles: Tensor | None = None,
        image_grids: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: object,
    ) -> CausalLMOutputWithPast:
        """Logits [B, S, V] in float32 (the last ``logits_to_keep`` positions, 0: all); with ``labels`` [B, S] also the loss.

        A prompt comes as ``input_ids``, whose placeholders are filled from ``tiles`` [sum of tiles, 3, 336, 336] uint8 and
        ``image_grids`` [images, 2], or as ``inputs_embeds`` [B, S, D], whose visual tokens ``visual_spans`` or ``im_mask``
        [B, S] names. Raises ValueError when both or neither are given, or when images and placeholders disagree.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            is_decoding = input_ids.shape[1] == 1 and tiles is None and im_mask is None
            if is_decoding or visual_spans is not None or im_mask is not None:
                inputs_embeds = self.model.tok_embeddings(input_ids)
            else:
                inputs_embeds, visual_spans = self.embed(input_ids, tiles, image_grids)
        if visual_spans is None and im_mask is not None:
            visual_spans = VisualSpans.from_mask(im_mask)
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache) and not self.training:
            past_key_values = DynamicCache(config=self.config)
        outputs = self.model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            visual_spans=visual_spans,
            **kwargs,
        )
        logits_BSV = self.output(outputs.last_hidden_state[:, -logits_to_keep:]).float()
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits_BSV, labels=labels, vocab_size=self.config.vocab_size)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits_BSV,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    # --- generate -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(self, input_ids: Tensor | None = None, **kwargs: object) -> Tensor:
        """As ``GenerationMixin.generate``; with ``tiles`` the prompt is embedded first, as the reference does it.

        The returned ids then hold no prompt, and the repetition penalty sees generated tokens only.
        """
        tiles, image_grids = kwargs.pop("tiles", None), kwargs.pop("image_grids", None)
        if input_ids is None or tiles is None:
            return super().generate(input_ids, **kwargs)
        inputs_embeds, _ = self.embed(input_ids, tiles, image_grids)
        return super().generate(inputs_embeds=inputs_embeds, im_mask=input_ids == self.config.image_token_id, **kwargs)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        inputs_embeds: Tensor | None = None,
        im_mask: Tensor | None = None,
        is_first_iteration: bool = False,
        **kwargs: object,
    ) -> dict[str, object]:
        """The visual mask goes with the prompt only; decoding steps are text."""
        inputs = super().prepare_inputs_for_generation(
            input_ids, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )
        if is_first_iteration and im_mask is not None:
            length = (inputs["inputs_embeds"] if inputs.get("inputs_embeds") is not None else inputs["input_ids"]).shape[1]
            inputs["im_mask"] = im_mask[:, -length:]
        return inputs
