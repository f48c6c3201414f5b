"""The trained model as an ordinary checkpoint folder, that ``from_pretrained`` loads like any other."""

from __future__ import annotations

from pathlib import Path

from transformers import GenerationConfig

from ixc.conversation import TURN_END
from ixc.training.stages import Kit

MAX_NEW_TOKENS = 128


def export_checkpoint(kit: Kit, folder: Path, turn_end: str = TURN_END) -> None:
    """Write weights (float32), configuration, generation settings, tokenizer and image processor into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, model = kit.processor.tokenizer, kit.model
    end_ids = [tokenizer.convert_tokens_to_ids(turn_end), tokenizer.eos_token_id]
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
        num_beams=1,
        repetition_penalty=1.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=list(dict.fromkeys(end_ids)),
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    kit.processor.save_pretrained(folder)
