"""What is checked before a request may run: that there is a question, that it fits the context, that it fits the memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import ProcessorMixin

from ixc.chat.costs import CostModel
from ixc.chat.memory import free_memory_bytes
from ixc.chat.prompt import EncodedPrompt, ImageSegment, encode_prompt
from ixc.chat.request import ChatRequest
from ixc.errors import ConversationTooLong, EmptyQuestion, ImageError, OutOfMemory

_GIGABYTE = 1e9


class Admission:
    """Turns requests into prompts, or refuses them with a sentence that says what to do."""

    def __init__(
        self,
        processor: ProcessorMixin,
        costs: CostModel,
        device: torch.device,
        max_context_tokens: int,
        free_bytes: Callable[[torch.device], int | None] = free_memory_bytes,
    ) -> None:
        self._processor = processor
        self._costs = costs
        self._device = device
        self._max_context_tokens = max_context_tokens
        self.free_bytes = free_bytes

    def admit(self, request: ChatRequest) -> EncodedPrompt:
        """The prompt of ``request``. Raises EmptyQuestion, ImageError, ConversationTooLong or OutOfMemory."""
        if not request.question.strip():
            raise EmptyQuestion("Type a question first.")
        prompt = self._processor.chat_format.build_prompt(
            request.system, request.turns, request.question.strip(), request.view, request.more_views
        )
        if any(view.image_id not in request.images for view in prompt.views):
            raise ImageError("An image of this conversation is no longer here; upload it again or clear the conversation.")
        encoded = encode_prompt(prompt, request.images, self._processor)
        if len(encoded) >= self._max_context_tokens:
            raise ConversationTooLong(
                f"The conversation has {len(encoded):,} tokens and the model takes {self._max_context_tokens:,}; lower the max "
                "patches or clear the conversation."
            )
        self._check_memory(encoded, request)
        return encoded

    def shortage(self, prompt: EncodedPrompt, num_copies: int = 0) -> tuple[int, int] | None:
        """(bytes needed, bytes free) when ``prompt`` does not fit; None when it does, or nobody can tell.

        ``num_copies`` is how often its keys and values are held besides, as beam search does.
        """
        free = self.free_bytes(self._device)
        needed = self._memory_bytes(prompt) + num_copies * len(prompt) * self._costs.bytes_per_token
        return None if free is None or needed <= free else (needed, free)

    def _check_memory(self, prompt: EncodedPrompt, request: ChatRequest) -> None:
        num_beams = request.generation.num_beams
        shortage = self.shortage(prompt, num_beams if num_beams > 1 else 0)
        if shortage is None:
            return
        needed, free = shortage
        message = f"This question needs about {needed / _GIGABYTE:.1f} GB of memory and {free / _GIGABYTE:.1f} GB are free"
        fitting = self._largest_fitting_budget(prompt, request, free)
        if fitting is None:
            raise OutOfMemory(f"{message}; clear the conversation or use a device with more memory.")
        raise OutOfMemory(f"{message}; lower the max patches to {fitting}.")

    def _memory_bytes(self, prompt: EncodedPrompt) -> int:
        tiles = (segment.plan.num_tiles for segment in prompt.segments if isinstance(segment, ImageSegment))
        return self._costs.memory_bytes(len(prompt), prompt.num_visual_tokens, max(tiles, default=0))

    def _largest_fitting_budget(self, prompt: EncodedPrompt, request: ChatRequest, free_bytes: int) -> int | None:
        """The largest budget below the one asked for, for the image now asked about, at which the prompt fits."""
        if request.view is None:
            return None
        for budget in range(request.view.max_patches - 1, 0, -1):
            segments = tuple(
                ImageSegment(segment.view, self._processor.image_processor.plan(segment.plan.original_px, budget))
                if isinstance(segment, ImageSegment) and segment.view == request.view
                else segment
                for segment in prompt.segments
            )
            if self._memory_bytes(EncodedPrompt(segments)) <= free_bytes:
                return budget
        return None
