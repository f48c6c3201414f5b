"""Text with image markers, and images, to model inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from ixc.conversation import DEFAULT_SYSTEM, IMAGE_MARKER, XCOMPOSER2_CHAT, ChatFormat
from ixc.errors import PlaceholderMismatch
from ixc.models.xcomposer2.image_processing import XComposer2ImageProcessor
from ixc.models.xcomposer2.tokenization import InternLM2Tokenizer
from ixc.tiling import Grid

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '[UNUSED_TOKEN_146]' + m['role'] + '\n' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}{{ '<ImageHere>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endif %}"
    "{{ '[UNUSED_TOKEN_145]\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[UNUSED_TOKEN_146]assistant\n' }}{% endif %}"
)


class XComposer2Processor(ProcessorMixin):
    """Tokenizer and image processor together; the chat template is the reference's prompt format."""

    chat_format: ChatFormat = XCOMPOSER2_CHAT

    def __init__(
        self,
        image_processor: XComposer2ImageProcessor,
        tokenizer: InternLM2Tokenizer,
        chat_template: str | None = None,
        default_system: str = DEFAULT_SYSTEM,
        sees_one_image: bool = False,
        **kwargs: object,
    ) -> None:
        """``default_system`` is the system text the model was trained with; "" leaves the system turn out.

        ``sees_one_image``: each conversation of its training showed one image, so that it is told of one at a time.
        """
        super().__init__(image_processor, tokenizer, chat_template=chat_template or CHAT_TEMPLATE, **kwargs)
        self.default_system = default_system
        self.sees_one_image = sees_one_image

    @property
    def image_token_id(self) -> int:
        return self.tokenizer.convert_tokens_to_ids("[UNUSED_TOKEN_144]")

    def encode_part(self, text: str, _index: int) -> list[int]:
        """Ids of one text part of a prompt; every part has a BOS of its own (reference quirk)."""
        return self.tokenizer(text)["input_ids"]

    def encode_parts(self, parts: Sequence[str], grids: Sequence[Grid]) -> list[int]:
        """Text parts with images between them -> ids with placeholders.

        Every non-empty part gets a BOS of its own (reference quirk), so that a BOS follows each image. Raises
        PlaceholderMismatch unless there is one part more than images.
        """
        if len(parts) != len(grids) + 1:
            raise PlaceholderMismatch(
                f"The prompt has {len(parts) - 1} {IMAGE_MARKER} markers for {len(grids)} images; their numbers must agree."
            )
        ids = self.encode_part(parts[0], 0) if parts[0] else []
        for index, (grid, part) in enumerate(zip(grids, parts[1:], strict=True), 1):
            ids += [self.image_token_id] * self.image_processor.num_visual_tokens(grid)
            ids += self.encode_part(part, index) if part else []
        return ids

    def __call__(
        self,
        text: str | Sequence[str],
        images: Sequence[np.ndarray] | np.ndarray | None = None,
        max_patches: int | None = None,
        **_: object,
    ) -> BatchFeature:
        """Prompts with ``<ImageHere>`` markers and RGB images [H, W, 3] uint8, in order -> input_ids, attention_mask [B, S]

        (padded on the left), tiles and image_grids. Raises PlaceholderMismatch.
        """
        texts = [text] if isinstance(text, str) else list(text)
        data = self.image_processor(images, max_patches=max_patches) if images is not None else {}
        grids = [Grid(rows, cols) for rows, cols in data["image_grids"].tolist()] if data else []
        rows = []
        for index, prompt in enumerate(texts):
            parts = prompt.split(IMAGE_MARKER)
            num_own = len(grids) if index == len(texts) - 1 else len(parts) - 1
            own, grids = grids[:num_own], grids[num_own:]
            rows.append(self.encode_parts(parts, own))
        length = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        return BatchFeature(
            {
                "input_ids": torch.tensor([[pad] * (length - len(row)) + row for row in rows]),
                "attention_mask": torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows]),
                **data,
            }
        )
