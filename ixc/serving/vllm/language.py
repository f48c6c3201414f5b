"""InternLM2 with Partial LoRA on vLLM's attention, cache and parallel layers. Names are the checkpoint's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vllm.compilation.decorators import support_torch_compile
from vllm.config import CacheConfig, VllmConfig
from vllm.distributed import get_tensor_model_parallel_world_size
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.quantization import QuantizationConfig
from vllm.model_executor.layers.rotary_embedding import get_rope
from vllm.model_executor.models.internlm2 import InternLM2ForCausalLM, InternLM2Model
from vllm.model_executor.models.utils import WeightsMapper
from vllm.sequence import IntermediateTensors

from ixc.errors import SettingsError
from ixc.models.xcomposer2 import XComposer2Config
from ixc.serving.vllm.plora import PLoRA, PLoRAColumnLinear, PLoRARowLinear

_HEAD_MULTIPLE = 32
"""Head widths that every one of vLLM's attention backends takes are multiples of this; others are padded with zeros."""


class PLoRAAttention(nn.Module):
    """Grouped-query attention. ``wqkv`` rows are, per key/value head, its query heads, then k, then v.

    A contiguous share of those rows is therefore a whole number of groups, and each process works on its own.
    """

    def __init__(
        self, config: XComposer2Config, cache: CacheConfig | None, quant: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__()
        num_processes = get_tensor_model_parallel_world_size()
        if config.num_key_value_heads % num_processes:
            raise SettingsError(
                f"--tensor-parallel-size must divide the model's {config.num_key_value_heads} key/value heads, "
                f"{num_processes} does not."
            )
        self.head_dim = config.head_dim
        self.head_padding = -config.head_dim % _HEAD_MULTIPLE
        self.num_queries = config.num_attention_heads // config.num_key_value_heads
        self.num_groups = config.num_key_value_heads // num_processes
        num_rows = (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
        self.wqkv = PLoRAColumnLinear(
            config.hidden_size,
            num_rows,
            PLoRA(config.plora_wqkv_rank, config.plora_wqkv_alpha),
            quant,
            f"{prefix}.wqkv",
        )
        self.wo = PLoRARowLinear(
            config.num_attention_heads * config.head_dim,
            config.hidden_size,
            PLoRA(config.plora_rank, config.plora_alpha),
            quant,
            f"{prefix}.wo",
        )
        self.rotary_emb = get_rope(
            config.head_dim, max_position=config.max_position_embeddings, rope_parameters=config.rope_parameters
        )
        self.attn = Attention(
            self.num_groups * self.num_queries,
            self.head_dim + self.head_padding,
            self.head_dim**-0.5,
            num_kv_heads=self.num_groups,
            cache_config=cache,
            quant_config=quant,
            prefix=f"{prefix}.attn",
        )

    def forward(self, positions_S: Tensor, x_SD: Tensor, visual_S1: Tensor) -> Tensor:
        groups = self.wqkv(x_SD, visual_S1).view(-1, self.num_groups, self.num_queries + 2, self.head_dim)
        query, key, value = groups.split((self.num_queries, 1, 1), dim=2)
        query, key = self.rotary_emb(positions_S, query.flatten(1).contiguous(), key.flatten(1).contiguous())
        out = self.attn(self._padded(query), self._padded(key), self._padded(value))
        return self.wo(self._cut(out), visual_S1)

    def _padded(self, heads: Tensor) -> Tensor:
        """Each head widened by zeros, which add nothing to a product of query and key: [S, heads * padded width]."""
        if not self.head_padding:
            return heads.reshape(heads.shape[0], -1)
        return F.pad(heads.reshape(heads.shape[0], -1, self.head_dim), (0, self.head_padding)).flatten(1)

    def _cut(self, heads: Tensor) -> Tensor:
        if not self.head_padding:
            return heads
        return heads.view(heads.shape[0], -1, self.head_dim + self.head_padding)[..., : self.head_dim].flatten(1)


class PLoRAFeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x)."""

    def __init__(self, config: XComposer2Config, quant: QuantizationConfig | None, prefix: str) -> None:
        super().__init__()
        plora = PLoRA(config.plora_rank, config.plora_alpha)
        inner = config.intermediate_size
        self.w1 = PLoRAColumnLinear(config.hidden_size, inner, plora, quant, f"{prefix}.w1")
        self.w3 = PLoRAColumnLinear(config.hidden_size, inner, plora, quant, f"{prefix}.w3")
        self.w2 = PLoRARowLinear(inner, config.hidden_size, plora, quant, f"{prefix}.w2")

    def forward(self, x_SD: Tensor, visual_S1: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x_SD, visual_S1)) * self.w3(x_SD, visual_S1), visual_S1)


class PLoRADecoderLayer(nn.Module):
    """Pre-norm attention and feed-forward; the signature is what ``InternLM2Model`` asks of its ``layer_type``."""

    def __init__(
        self,
        config: XComposer2Config,
        cache_config: CacheConfig | None = None,
        quant_config: QuantizationConfig | None = None,
        prefix: str = "",
    ) -> None:
        super().__init__()
        self.attention = PLoRAAttention(config, cache_config, quant_config, f"{prefix}.attention")
        self.feed_forward = PLoRAFeedForward(config, quant_config, f"{prefix}.feed_forward")
        self.attention_norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.ffn_norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self, positions_S: Tensor, x_SD: Tensor, residual_SD: Tensor | None, visual_S1: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the layer adds, and the stream it is to be added to."""
        if residual_SD is None:
            x_SD, residual_SD = self.attention_norm(x_SD), x_SD
        else:
            x_SD, residual_SD = self.attention_norm(x_SD, residual_SD)
        x_SD = self.attention(positions_S, x_SD, visual_S1)
        x_SD, residual_SD = self.ffn_norm(x_SD, residual_SD)
        return self.feed_forward(x_SD, visual_S1), residual_SD


@support_torch_compile(dynamic_arg_dims={"input_ids": 0, "positions": -1, "inputs_embeds": 0})
class PLoRAModel(InternLM2Model):
    """The language model's body; the placeholder id in ``input_ids`` tells which tokens are visual."""

    hf_to_vllm_mapper = WeightsMapper()

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, layer_type=PLoRADecoderLayer)
        self.image_token_id = vllm_config.model_config.hf_config.image_token_id

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[S] ids, with the visual tokens' embeddings in ``inputs_embeds`` [S, D] -> [S, D] after the final norm."""
        x_SD = self.embed_input_ids(input_ids) if inputs_embeds is None else inputs_embeds
        visual_S1 = (input_ids == self.image_token_id).unsqueeze(-1).to(x_SD.dtype)
        residual_SD = None
        for layer in self.layers:
            x_SD, residual_SD = layer(positions, x_SD, residual_SD, visual_S1)
        x_SD, _ = self.norm(x_SD, residual_SD)
        return x_SD


class PLoRAInternLM2(InternLM2ForCausalLM):
    """The body and the output layer."""

    hf_to_vllm_mapper = WeightsMapper()
    packed_modules_mapping: dict[str, list[str]] = {}  # noqa: RUF012 - vLLM's name and type; nothing is packed here

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, model_type=PLoRAModel)
