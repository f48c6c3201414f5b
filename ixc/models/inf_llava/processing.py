"""Text with image markers, and images, to model inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from ixc.conversation import LLAMA3_CHAT, ChatFormat
from ixc.dual_perspective import NUM_VISUAL_TOKENS
from ixc.errors import PlaceholderMismatch
from ixc.models.inf_llava.image_processing import InfLlavaImageProcessor
from ixc.models.inf_llava.tokenization import Llama3Tokenizer

IMAGE_TOKEN_ID = -200
CHAT_TEMPLATE = (
    "{{ '<|begin_of_text|>' }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}{{ '<image>\n' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endif %}"
    "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


class InfLlavaProcessor(ProcessorMixin):
    """Tokenizer and image processor together; the chat template is the released ``llama3`` conversation."""

    chat_format: ChatFormat = LLAMA3_CHAT

    def __init__(
        self,
        image_processor: InfLlavaImageProcessor,
        tokenizer: Llama3Tokenizer,
        chat_template: str | None = None,
        default_system: str = LLAMA3_CHAT.default_system,
        sees_one_image: bool = False,
        **kwargs: object,
    ) -> None:
        """``sees_one_image``: each conversation of its training showed one image, so that it is told of one at a time."""
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE, **kwargs)
        self.default_system = default_system
        self.sees_one_image = sees_one_image

    @property
    def image_token_id(self) -> int:
        return IMAGE_TOKEN_ID

    def encode_part(self, text: str, index: int) -> list[int]:
        """Ids of the ``index``-th text part of a prompt: only the first keeps the BOS that the tokenizer adds.

        The template writes a BOS of its own, so that prompts start with two, as in training (reference quirk).
        """
        ids = self.tokenizer(text)["input_ids"]
        bos = self.tokenizer.bos_token_id
        return ids[1:] if index and ids[:1] == [bos] else ids

    def encode_parts(self, parts: Sequence[str], num_images: int) -> list[int]:
        """Text parts with images between them -> ids, 576 placeholders an image.

        Raises PlaceholderMismatch unless there is one part more than images.
        """
        if len(parts) != num_images + 1:
            marker = self.chat_format.image_marker
            raise PlaceholderMismatch(
                f"The prompt has {len(parts) - 1} {marker} markers for {num_images} images; their numbers must agree."
            )
        ids = self.encode_part(parts[0], 0)
        for index, part in enumerate(parts[1:], 1):
            ids += [self.image_token_id] * NUM_VISUAL_TOKENS + self.encode_part(part, index)
        return ids

    def __call__(
        self,
        text: str,
        images: Sequence[np.ndarray] | np.ndarray | None = None,
        max_patches: int | None = None,
        **_: object,
    ) -> BatchFeature:
        """One prompt with ``<image>`` markers and its RGB images [H, W, 3] uint8 -> input_ids, attention_mask [1, S], tiles.

        Raises PlaceholderMismatch.
        """
        data = self.image_processor(images, max_patches=max_patches) if images is not None else {}
        ids = self.encode_parts(text.split(self.chat_format.image_marker), len(data["tiles"]) if data else 0)
        return BatchFeature(
            {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long), **data}
        )
