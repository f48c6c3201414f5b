"""What a screen, the command line and the server ask of an engine, wherever its model runs. Loads without PyTorch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ixc.chat.events import Event
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import XCOMPOSER2_CHAT, ChatFormat
from ixc.image_layout import DYNAMIC_PARTITION, ImageLayout
from ixc.settings import GenerationSettings
from ixc.single_view import ImagePlan


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a screen says about the loaded model."""

    name: str
    device: str
    note: str
    default_generation: GenerationSettings
    default_system: str
    default_max_patches: int
    layout: ImageLayout = DYNAMIC_PARTITION
    chat_format: ChatFormat = XCOMPOSER2_CHAT


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Expected cost of the first question about an image; ``memory_bytes`` is what comes on top of the weights."""

    memory_bytes: int
    time_to_first_token_ms: float | None


@runtime_checkable
class ChatEngine(Protocol):
    """An engine: questions in, typed events out. Its methods may be called from any thread.

    Derive from it to be told of a missing method when the class is instantiated, and to get the properties, which read
    ``info``.
    """

    info: ModelInfo

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
    def layout(self) -> ImageLayout:
        """How the model cuts images."""
        return self.info.layout
