"""What is checked before a request may run: that there is a question, that it fits the context, that it fits the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import ProcessorMixin

from ixc.chat.costs import CostModel
from ixc.chat.interface import CostEstimate
from ixc.chat.kv_cache import ANSWER_ROOM
from ixc.chat.memory import free_memory_bytes
from ixc.chat.prompt import EncodedPrompt, ImageSegment, encode_prompt
from ixc.chat.request import ChatRequest
from ixc.conversation import ImageView
from ixc.errors import ConversationTooLong, EmptyQuestion, ImageError, OutOfMemory
from ixc.single_view import ImagePlan

_GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class Held:
    """What is kept of a session that a prompt can use again."""

    num_tokens: int = 0
    """At the prompt's start, whose keys and values are there."""
    capacity: int = 0
    """Tokens that their cache has room for."""
    views: frozenset[ImageView] = frozenset()
    """Images whose embeddings are there."""


_NOTHING = Held()


class Admission:
    """Turns requests into prompts, or refuses them with a sentence that says what to do."""

    def __init__(
        self,
        processor: ProcessorMixin,
        costs: CostModel,
        device: torch.device,
        max_context_tokens: int,
        free_bytes: Callable[[torch.device], int | None] = free_memory_bytes,
        held: Callable[[str, EncodedPrompt], Held] = lambda session_id, prompt: _NOTHING,
        spare_bytes: Callable[[str], int] = lambda session_id: 0,
        make_room: Callable[[str, int], None] = lambda session_id, num_bytes: None,
    ) -> None:
        """``held`` tells what a session keeps, ``spare_bytes`` how much all others do; ``make_room`` frees some of that."""
        self._processor = processor
        self._costs = costs
        self._device = device
        self._max_context_tokens = max_context_tokens
        self._longest_piece = max(map(len, processor.tokenizer.get_vocab()))
        self.free_bytes = free_bytes
        self._held = held
        self._spare_bytes = spare_bytes
        self._make_room = make_room

    def admit(self, request: ChatRequest) -> EncodedPrompt:
        """The prompt of ``request``. Raises EmptyQuestion, ImageError or ConversationTooLong."""
        if not request.question.strip():
            raise EmptyQuestion("Type a question first.")
        self._check_letters(request)
        encoded = self.encode(request)
        if len(encoded) >= self._max_context_tokens:
            raise ConversationTooLong(
                f"The conversation has {len(encoded):,} tokens and the model takes {self._max_context_tokens:,}; lower the max "
                "patches or begin a new chat."
            )
        return encoded

    def encode(self, request: ChatRequest) -> EncodedPrompt:
        """The prompt of ``request``, whatever its length. Raises ImageError for an image that is not among its images."""
        prompt = self._processor.chat_format.build_prompt(
            request.system, request.turns, request.question.strip(), request.view, request.more_views
        )
        if any(view.image_id not in request.images for view in prompt.views):
            raise ImageError("An image of this conversation is no longer here; upload it again or begin a new chat.")
        return encode_prompt(prompt, request.images, self._processor)

    def expected(self, prompt: EncodedPrompt, held: Held) -> CostEstimate:
        """What an answer to ``prompt`` takes: all of its memory, and the time for what is not ``held``."""
        unseen = _unseen(prompt, held)
        return CostEstimate(
            self._memory_bytes(prompt, 1, _NOTHING, ANSWER_ROOM),
            self._costs.time_ms(sum(plan.num_views for plan in unseen), len(prompt), held.num_tokens),
            held.num_tokens,
        )

    def _check_letters(self, request: ChatRequest) -> None:
        """Refuse what no tokenizer could fit into the context, before it spends minutes on it."""
        texts = (request.system, request.question, *(text for turn in request.turns for text in (turn.question, turn.answer)))
        num_letters = sum(map(len, texts))
        if num_letters > self._max_context_tokens * self._longest_piece:
            raise ConversationTooLong(
                f"The conversation has {num_letters:,} letters, more than the model's {self._max_context_tokens:,} tokens can "
                "hold; ask about a shorter text or begin a new chat."
            )

    def shortage(
        self, prompt: EncodedPrompt, num_beams: int = 1, held: Held = _NOTHING, num_answer_tokens: int = ANSWER_ROOM
    ) -> tuple[int, int] | None:
        """(bytes needed, bytes free) when ``prompt`` does not fit; None when it does, or nobody can tell."""
        free = self.free_bytes(self._device)
        needed = self._memory_bytes(prompt, num_beams, held, num_answer_tokens)
        return None if free is None or needed <= free else (needed, free)

    def check_memory(self, prompt: EncodedPrompt, request: ChatRequest) -> None:
        """Make room for the answer to ``request``, whose prompt this is. Raises OutOfMemory.

        Asked when nothing else runs: what another pass holds is neither free nor kept.
        """
        num_beams, held = request.generation.num_beams, self._held(request.session_id, prompt)
        num_answer_tokens = _num_answer_tokens(request)
        if (shortage := self.shortage(prompt, num_beams, held, num_answer_tokens)) is None:
            return
        missing, spare = shortage[0] - shortage[1], self._spare_bytes(request.session_id)
        if missing <= spare:  # else others would lose what they keep, and this one be refused all the same
            self._make_room(request.session_id, missing)
            if (shortage := self.shortage(prompt, num_beams, held, num_answer_tokens)) is None:
                return
            spare = self._spare_bytes(request.session_id)
        needed, free = shortage
        message = f"This question needs about {needed / _GIGABYTE:.1f} GB of memory and {free / _GIGABYTE:.1f} GB are free"
        fitting = self._largest_fitting_budget(prompt, request, free + spare)
        if fitting is None:
            raise OutOfMemory(f"{message}; begin a new chat or use a device with more memory.")
        raise OutOfMemory(f"{message}; lower the max patches to {fitting}.")

    def _memory_bytes(self, prompt: EncodedPrompt, num_beams: int, held: Held, num_answer_tokens: int) -> int:
        """Beam search holds the prompt's keys and values, and the answer's, once more for every beam."""
        copies = (num_beams if num_beams > 1 else 0) * (len(prompt) + num_answer_tokens) * self._costs.bytes_per_token
        unseen = _unseen(prompt, held)
        return copies + self._costs.memory_bytes(
            len(prompt),
            sum(plan.num_visual_tokens for plan in unseen),
            max((plan.num_tiles for plan in unseen), default=0),
            num_cached=held.num_tokens,
            capacity=held.capacity,
            num_answer_tokens=num_answer_tokens,
        )

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
            smaller = EncodedPrompt(segments)
            held = self._held(request.session_id, smaller)
            needed = self._memory_bytes(smaller, request.generation.num_beams, held, _num_answer_tokens(request))
            if needed <= free_bytes:
                return budget
        return None


def _unseen(prompt: EncodedPrompt, held: Held) -> list[ImagePlan]:
    """The images, each once, that the vision tower has yet to see."""
    unseen, position = {}, 0
    for segment in prompt.segments:
        position += len(segment)
        if isinstance(segment, ImageSegment) and position > held.num_tokens and segment.view not in held.views:
            unseen[segment.view] = segment.plan
    return list(unseen.values())


def _num_answer_tokens(request: ChatRequest) -> int:
    """Of the answer, so many find room beside the prompt from the start; few answers are longer."""
    return min(request.generation.max_new_tokens, ANSWER_ROOM)
