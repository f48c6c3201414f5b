"""What the small INF-LLaVA begins with: ixc-nano's tower and language model, in other names, and a byte tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor

from ixc.conversation import BOS_TEXT, TURN_END, TURN_START
from ixc.errors import CheckpointError
from ixc.models.inf_llava import InfLlavaConfig, InfLlavaForCausalLM, Llama3Tokenizer
from ixc.models.inf_llava.tokenization import byte_letters
from ixc.models.xcomposer2 import InternLM2Tokenizer, XComposer2Config, XComposer2ForCausalLM
from ixc.training.model_fields import model_config

SPECIALS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def byte_tokenizer() -> Llama3Tokenizer:
    """Llama 3's format with one token a byte: a model that copies characters has to see them one by one."""
    letters = {letter: byte for byte, letter in enumerate(byte_letters())}
    backend = Tokenizer(models.BPE(letters, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIALS))
    bos = SPECIALS[0]
    backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))])
    return Llama3Tokenizer(tokenizer_object=backend, bos_token=bos, eos_token=SPECIALS[-1])


def inf_model_config(given: dict, nano: XComposer2Config) -> InfLlavaConfig:
    """A model with the fields ``given``, and else of ixc-nano's sizes. Raises SettingsError when none can be made of them."""
    tokenizer = byte_tokenizer()
    return model_config(
        InfLlavaConfig,
        given,
        hidden_size=nano.hidden_size,
        intermediate_size=nano.intermediate_size,
        num_hidden_layers=nano.num_hidden_layers,
        num_attention_heads=nano.num_attention_heads,
        num_key_value_heads=nano.num_key_value_heads,
        rope_parameters={"rope_type": "default", "rope_theta": float(nano.rope_theta)},
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        # One layer more: the last is never used (``hidden_states[-2]``).
        vision_config=nano.vision_config.to_dict() | {"num_hidden_layers": nano.vision_config.num_hidden_layers + 1},
    )


def initial_inf_model(given: dict, tokenizer: Llama3Tokenizer, nano_folder: Path, seed: int) -> InfLlavaForCausalLM:
    """A model with the fields ``given`` of InfLlavaConfig; what ixc-nano has of the same shape is copied from it.

    Raises CheckpointError when ixc-nano's weights cannot be read, SettingsError when no model can be made of the fields.
    """
    try:
        nano = XComposer2ForCausalLM.from_pretrained(nano_folder, dtype=torch.float32)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"The weights in {nano_folder} cannot be loaded: {str(error).splitlines()[0]}.") from error
    config = inf_model_config(given, nano.config)
    torch.manual_seed(seed)
    model = InfLlavaForCausalLM(config)
    state = model.state_dict()
    for name, tensor in _renamed(nano, nano_folder, tokenizer, state).items():
        if state[name].shape == tensor.shape:
            state[name].copy_(tensor)
    return model


def _renamed(
    nano: XComposer2ForCausalLM, folder: Path, tokenizer: Llama3Tokenizer, state: dict[str, Tensor]
) -> dict[str, Tensor]:
    """ixc-nano's tensors under INF-LLaVA's names."""
    config, renamed = nano.config, {}
    renamed |= _projector(nano)
    for name, tensor in nano.vit.state_dict().items():
        renamed[f"model.vision_tower.{name}"] = tensor
    names = {
        "attention.wo.weight": "self_attn.o_proj.weight",
        "feed_forward.w1.weight": "mlp.gate_proj.weight",
        "feed_forward.w3.weight": "mlp.up_proj.weight",
        "feed_forward.w2.weight": "mlp.down_proj.weight",
        "attention_norm.weight": "input_layernorm.weight",
        "ffn_norm.weight": "post_attention_layernorm.weight",
    }
    for index, layer in enumerate(nano.model.layers):
        own = layer.state_dict()
        place = f"model.layers.{index}"
        renamed |= {f"{place}.{new}": own[old] for old, new in names.items()}
        groups = own["attention.wqkv.weight"].unflatten(0, (config.num_key_value_heads, -1, config.head_dim))
        for part, heads in (("q", groups[:, :-2]), ("k", groups[:, -2:-1]), ("v", groups[:, -1:])):
            renamed[f"{place}.self_attn.{part}_proj.weight"] = heads.flatten(0, 2)
    renamed["model.norm.weight"] = nano.model.norm.weight
    pieces = InternLM2Tokenizer(str(folder / "tokenizer.model"))
    piece_of = _pieces_of(tokenizer, pieces)
    for new, old in (("model.embed_tokens.weight", nano.model.tok_embeddings), ("lm_head.weight", nano.output)):
        rows = state[new].clone()
        for token, piece in piece_of.items() if rows.shape[1] == config.hidden_size else ():
            rows[token] = old.weight[piece]
        renamed[new] = rows
    return {name: tensor.detach() for name, tensor in renamed.items() if name in state}


def _projector(nano: XComposer2ForCausalLM) -> dict[str, Tensor]:
    """ixc-nano's projector for tokens of one patch: it reads four, and here the same one stands in all their places.

    In the first ten steps the visual tokens told 30 % of the characters of dense pages, with random weights 1 %.
    """
    state = nano.vision_proj.state_dict()
    four_patches = state["0.weight"].unflatten(1, (4, -1))
    return {f"model.mm_projector.{name}": tensor for name, tensor in {**state, "0.weight": four_patches.sum(1)}.items()}


def _pieces_of(tokenizer: Llama3Tokenizer, pieces: InternLM2Tokenizer) -> dict[int, int]:
    """For every token, a byte or one of ``SPECIALS``, the piece of ixc-nano's vocabulary that means the same.

    A header's end takes the place of "assistant" with its newline, the last thing that ixc-nano sees before an answer.
    """
    meant = dict(zip(SPECIALS, (BOS_TEXT, TURN_START, "assistant\n", TURN_END), strict=True))
    found = {tokenizer.convert_tokens_to_ids(special): pieces.convert_tokens_to_ids(piece) for special, piece in meant.items()}
    for byte in range(256):
        piece = pieces.convert_tokens_to_ids("\u2581" if byte == 32 else chr(byte)) if byte < 128 else pieces.unk_token_id
        found[byte] = pieces.convert_tokens_to_ids(f"<0x{byte:02X}>") if piece == pieces.unk_token_id else piece
    return found
