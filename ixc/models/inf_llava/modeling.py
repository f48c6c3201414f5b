"""The whole model on transformers' own Llama and CLIP: views, enhancement, projector, language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, LlamaModel, LlamaPreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from ixc.models.clip_pixels import normalise
from ixc.models.inf_llava.configuration import InfLlavaConfig
from ixc.models.inf_llava.enhancement import DualPerspectiveEnhancement
from ixc.models.inf_llava.vision import VisionTower, make_views


class InfLlavaPreTrainedModel(LlamaPreTrainedModel):
    """What transformers needs to know about these models."""

    config_class = InfLlavaConfig
    base_model_prefix = "model"
    _no_split_modules = ("LlamaDecoderLayer", "CLIPEncoderLayer", "CLIPVisionEmbeddings", "DualPerspectiveEnhancement")


class InfLlavaModel(InfLlavaPreTrainedModel, LlamaModel):
    """Llama's body with the vision parts beside it, where the official checkpoint has them."""

    def __init__(self, config: InfLlavaConfig) -> None:
        super().__init__(config)
        vision = config.vision_config
        self.vision_tower = VisionTower(vision)
        self.spatial_embed = DualPerspectiveEnhancement(
            vision.hidden_size, config.enhancement_heads, config.cuts_per_side, vision.image_size // vision.patch_size
        )
        self.mm_projector = nn.Sequential(
            nn.Linear(vision.hidden_size, config.hidden_size), nn.GELU(), nn.Linear(config.hidden_size, config.hidden_size)
        )
        self.post_init()

    @property
    def tok_embeddings(self) -> nn.Embedding:
        """Under the name that the project's other models have for it."""
        return self.embed_tokens

    def forward(self, *args: object, visual_spans: object = None, **kwargs: object) -> BaseModelOutputWithPast:
        """Llama's forward. Where the visual tokens are makes no difference to this model."""
        return super().forward(*args, **kwargs)


class InfLlavaForCausalLM(InfLlavaPreTrainedModel, GenerationMixin):
    """INF-LLaVA. Parameter names are the official checkpoint's.

    ``computes_all_views`` chooses the released computation, 19 passes of the vision tower at N = 3, instead of the 10 that
    reach the output. Other N than 3 always compute all.
    """

    def __init__(self, config: InfLlavaConfig) -> None:
        super().__init__(config)
        self.model = InfLlavaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.computes_all_views = not self.model.spatial_embed.has_short_cut
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.model.embed_tokens = value

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value

    # --- images ---------------------------------------------------------------------------------------------------

    @property
    def vision_proj(self) -> nn.Module:
        """The projector, under the name that the project's other models have for it."""
        return self.model.mm_projector

    @property
    def output(self) -> nn.Linear:
        """The head, likewise."""
        return self.lm_head

    def make_views(self, tiles_1CHW: Tensor, grid: object = None) -> Tensor:
        """One image's padded square, uint8 [1, 3, side, side] -> normalised views [V, 3, 336, 336] in the model's dtype."""
        config = self.config
        views = make_views(
            normalise(tiles_1CHW), config.cuts_per_side, config.vision_config.image_size, all_views=self.computes_all_views
        )
        return views[:, 0].to(self.dtype)

    def encode_views(self, views_NCHW: Tensor) -> Tensor:
        """Normalised views -> features [N, 576, width]; one pass of the vision tower."""
        return self.model.vision_tower(views_NCHW)

    def lay_out(self, feat_VPD: Tensor, grid: object = None) -> Tensor:
        """Features of one image's views -> its tokens [576, width]: enhanced, averaged with the low-resolution view's."""
        enhancement, num_cells = self.model.spatial_embed, self.config.cuts_per_side**2
        feat_VBPD = feat_VPD[:, None]
        local, low_BPD = feat_VBPD[:num_cells], feat_VBPD[-1]
        if self.computes_all_views:
            enhanced = enhancement(local, feat_VBPD[num_cells:-1])
        else:
            enhanced = enhancement.short_cut(local, low_BPD)  # the low-resolution view is the centre strided one
        return ((enhanced.to(low_BPD.device) + low_BPD) / 2)[0]  # of a model that is spread, they may come from two devices

    def encode_images(self, squares_BCHW: Tensor) -> Tensor:
        """Padded squares uint8 [B, 3, side, side] -> embeddings [B, 576, D]."""
        features = [self.lay_out(self.encode_views(self.make_views(square[None]))) for square in squares_BCHW]
        return self.vision_proj(torch.stack(features))

    def embed(self, input_ids_BS: Tensor, images_BTD: Sequence[Tensor] | Tensor) -> Tensor:
        """Ids whose placeholders are filled, in order, by the images' embeddings -> [B, S, D].

        Raises ValueError when the numbers of visual tokens differ.
        """
        is_visual_BS = input_ids_BS == self.config.image_placeholder
        num_places, num_features = int(is_visual_BS.sum()), sum(image.shape[:-1].numel() for image in images_BTD)
        if num_features != num_places:
            raise ValueError(f"the images have {num_features} visual tokens, the prompt has places for {num_places}")
        embeds_BSD = self.model.embed_tokens(input_ids_BS.masked_fill(is_visual_BS, 0))
        if not num_places:
            return embeds_BSD
        features = torch.cat([image.reshape(-1, image.shape[-1]) for image in images_BTD])
        return embeds_BSD.masked_scatter(is_visual_BS[..., None], features.to(embeds_BSD))

    # --- language -------------------------------------------------------------------------------------------------

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        tiles: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: object,
    ) -> CausalLMOutputWithPast:
        """Logits [B, S, V] in float32 (the last ``logits_to_keep`` positions, 0: all); with ``labels`` [B, S] also the loss.

        A prompt comes as ``input_ids`` whose placeholders are filled from ``tiles`` [images, 3, side, side] uint8, or as
        ``inputs_embeds`` [B, S, D]. Raises ValueError when both or neither are given, or when images and places disagree.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed(input_ids, self.encode_images(tiles) if tiles is not None else ())
        output = self.model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )
        logits_BSV = self.lm_head(output.last_hidden_state[:, -logits_to_keep:]).float()
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits_BSV, labels=labels, vocab_size=self.config.vocab_size)
        return CausalLMOutputWithPast(loss=loss, logits=logits_BSV, past_key_values=output.past_key_values)

    # --- generate -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(self, input_ids: Tensor | None = None, **kwargs: object) -> Tensor:
        """As ``GenerationMixin.generate``; with ``tiles`` the prompt is embedded first, as the reference does it.

        The returned ids then hold no prompt, and penalties see generated tokens only: placeholders lie outside the vocabulary.
        """
        tiles = kwargs.pop("tiles", None)
        if input_ids is None or tiles is None:
            return super().generate(input_ids, **kwargs)
        return super().generate(inputs_embeds=self.embed(input_ids, self.encode_images(tiles)), **kwargs)
