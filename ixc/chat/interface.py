"""What a screen, the command line and the server ask of an engine, wherever its model runs. Loads without PyTorch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Protocol, runtime_checkable

from ixc.chat.events import Event
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import XCOMPOSER2_CHAT, ChatFormat
from ixc.errors import IxcError
from ixc.image_layout import DYNAMIC_PARTITION, ImageLayout
from ixc.settings import GenerationSettings
from ixc.single_view import ImagePlan


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a screen says about the loaded model."""

    name: str
    device: str
    """Empty: it runs on another server, whose address is nothing for visitors."""
    note: str
    default_generation: GenerationSettings
    default_system: str
    default_max_patches: int
    layout: ImageLayout = DYNAMIC_PARTITION
    chat_format: ChatFormat = XCOMPOSER2_CHAT
    sees_one_image: bool = False
    """Whether its training showed one image in each conversation: it is then told of no other."""
    max_context_tokens: int | None = None
    """Of prompt and answer together; None: not known."""
    served_as: str = ""
    """What the other server that runs it calls it; empty where it runs here."""


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Expected cost of a question about an image.

    ``memory_bytes`` is what its whole conversation takes on top of the weights. The time is less where the conversation so far
    has been read already.
    """

    memory_bytes: int
    time_to_first_token_ms: float | None
    num_read_tokens: int = 0
    """At the prompt's start, that need not be read again."""


@dataclass(frozen=True, slots=True)
class PromptPreview:
    """What the model would get for a question, in tokens around those of its image, and what that is expected to cost."""

    num_before: int = 0
    num_after: int = 0
    """With all tokens of a question without an image."""
    num_turns: int = 0
    """Earlier questions in it."""
    cost: CostEstimate | None = None


class ReadAheadOutcome(StrEnum):
    """What came of reading ahead."""

    HELD = auto()
    """All of it is there for the next question."""
    GAVE_WAY = auto()
    """To a question, or to whoever stopped it: what is missing can be read later."""
    IN_VAIN = auto()
    """There is no room for it, or nothing to read: the same again would come to the same."""


@runtime_checkable
class ChatEngine(Protocol):
    """An engine: questions in, typed events out. Its methods may be called from any thread.

    Derive from it to be told of a missing method when the class is instantiated, and to get the properties, which read
    ``info``.
    """

    info: ModelInfo
    reads_ahead = False
    """Whether ``read_ahead`` does anything."""

    @abstractmethod
    def answer(self, request: ChatRequest, stop: StopFlag) -> Iterator[Event]:
        """Stream the answer's events; see ``ixc.chat.events``.

        Nothing is checked before the first event is asked for. Ends early, with a Finished event, soon after ``stop`` is set;
        closing the iterator sets it. Raises EmptyQuestion, ConversationTooLong, ImageError, EngineBusy or OutOfMemory.
        """

    @abstractmethod
    def forget(self, session_id: str) -> None:
        """Free what is kept for a session, also what a running answer would leave behind, and stop that answer."""

    @abstractmethod
    def estimate(self, plan: ImagePlan, num_text_tokens: int = 0) -> CostEstimate | None:
        """Expected memory and time to first token of a first question about an image cut by ``plan``; None: not known."""

    @abstractmethod
    def count_text_tokens(self, text: str) -> int:
        """Tokens of ``text`` as a part of a prompt of its own, with its BOS."""

    @abstractmethod
    def memory_report(self) -> dict[str, int]:
        """``sessions``, ``entries`` and ``bytes`` in the caches, ``model_bytes`` of the weights, and ``requests`` under way."""

    @abstractmethod
    def close(self) -> None:
        """Stop running answers and free threads and connections; the engine cannot be used afterwards."""

    def told(self, request: ChatRequest) -> ChatRequest:
        """``request`` with what this model is told of it; ``answer`` does so by itself. Raises TooManyImages."""
        return request.about_one_image() if self.info.sees_one_image else request

    def read_ahead(self, request: ChatRequest, stop: StopFlag) -> ReadAheadOutcome:
        """Read what all questions that may follow begin with, so that the answer begins sooner; ``request`` has no words yet.

        Returns when it is done, or soon after ``stop`` is set or a question comes that does not begin so, or at once where
        nothing is to be gained. Raises nothing of what ``answer`` raises: whoever asks is told. Does nothing unless
        ``reads_ahead``.
        """
        return ReadAheadOutcome.IN_VAIN

    def preview(self, request: ChatRequest) -> PromptPreview:
        """What ``answer`` would get; the question may be empty, and nothing is refused for its length."""
        request = self.told(request).without_missing_images()
        prompt = self.chat_format.build_prompt(request.system, request.turns, request.question, request.view)
        sizes = [self.count_text_tokens(prompt.parts[0])]
        for view, part in zip(prompt.views, prompt.parts[1:], strict=True):
            plan = self.layout.plan(request.images[view.image_id].size_px, view.max_patches)
            sizes += [plan.num_visual_tokens, self.count_text_tokens(part) if part else 0]
        if request.view is None:
            return PromptPreview(0, sum(sizes), len(request.turns))
        place = 2 * (len(prompt.views) - prompt.views[::-1].index(request.view)) - 1
        num_before, num_after = sum(sizes[:place]), sum(sizes[place + 1 :])
        plan = self.layout.plan(request.images[request.view.image_id].size_px, request.view.max_patches)
        return PromptPreview(num_before, num_after, len(request.turns), self.estimate(plan, num_before + num_after))

    @property
    def failure(self) -> IxcError | None:
        """Why this engine answers nothing more until the process is started again, if so."""
        return None

    @property
    def is_away(self) -> bool:
        """Whether the model cannot be reached at the moment, but is being looked for."""
        return False

    @property
    def model_name(self) -> str:
        return self.info.name

    @property
    def device_name(self) -> str:
        return self.info.device

    @property
    def limits_note(self) -> str:
        return self.info.note

    @property
    def default_generation(self) -> GenerationSettings:
        return self.info.default_generation

    @property
    def default_system(self) -> str:
        return self.info.default_system

    @property
    def default_max_patches(self) -> int:
        return self.info.default_max_patches

    @property
    def chat_format(self) -> ChatFormat:
        """How the model is prompted."""
        return self.info.chat_format

    @property
    def served_as(self) -> str:
        """What the other server that runs it calls it; empty where it runs here."""
        return self.info.served_as

    @property
    def layout(self) -> ImageLayout:
        """How the model cuts images."""
        return self.info.layout
