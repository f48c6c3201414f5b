"""Small real INF-LLaVA checkpoints for tests, made from the reference's random weights."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from ixc.models.inf_llava import (
    InfLlavaConfig,
    InfLlavaForCausalLM,
    InfLlavaImageProcessor,
    InfLlavaProcessor,
    Llama3Tokenizer,
)

REFERENCE = Path(__file__).parent / "data" / "inf_llava"
SPECIALS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
NOT_LLAMAS = ("mm_hidden_size", "mm_projector_type", "mm_vision_select_layer", "mm_vision_select_feature")


def tiny_config(**changes: object) -> InfLlavaConfig:
    """The reference's tiny configuration."""
    tiny = json.loads((REFERENCE / "tiny_config.json").read_text())
    text = {key: value for key, value in tiny["text"].items() if key not in NOT_LLAMAS}
    heads = tiny["spatial_embed"]["heads"]
    return InfLlavaConfig(**{**text, "vision_config": tiny["vision"], "enhancement_heads": heads, **changes})


def tiny_model() -> InfLlavaForCausalLM:
    """The reference's tiny model, float32, in eval mode."""
    model = InfLlavaForCausalLM(tiny_config())
    model.load_state_dict(load_file(REFERENCE / "tiny_model.safetensors"), strict=True)
    return model.eval()


def stub_tokenizer() -> Llama3Tokenizer:
    """The reference's stub: ids 0 to 255 are UTF-8 bytes, then four special tokens; every call prepends a BOS."""
    # Which letter stands for which byte is asked of the library, not of the class under test.
    letters = dict.fromkeys(range(256), "")
    to_letter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for point in range(0x110000):
        character = chr(point)
        if 0xD800 <= point <= 0xDFFF or all(letters.values()):
            continue
        encoded = character.encode()
        if any(not letters[byte] for byte in encoded):
            shown = to_letter.pre_tokenize_str(character)[0][0]
            letters.update(zip(encoded, shown, strict=True))
    never = [byte for byte, letter in letters.items() if not letter]  # 0xC0, 0xC1, 0xF5 to 0xFF are no UTF-8
    letters |= {byte: f"never-{byte}" for byte in never}
    backend = Tokenizer(models.BPE({letters[byte]: byte for byte in range(256)}, []))
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex("."), "isolated"), to_letter])
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIALS))
    backend.post_processor = processors.TemplateProcessing(single=f"{SPECIALS[0]} $A", special_tokens=[(SPECIALS[0], 256)])
    return Llama3Tokenizer(tokenizer_object=backend, bos_token=SPECIALS[0], eos_token=SPECIALS[3])


def tiny_processor(max_patches: int = 9) -> InfLlavaProcessor:
    return InfLlavaProcessor(InfLlavaImageProcessor(max_patches=max_patches), stub_tokenizer())


def write_inf_checkpoint(folder: Path) -> Path:
    """A loadable folder of our own layout with the reference's tiny weights and stub tokenizer."""
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder
