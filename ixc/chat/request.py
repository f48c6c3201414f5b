"""What a caller asks of the engine, and the flag by which it takes the request back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from ixc.conversation import ImageView, Turn
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question in its conversation. All of a user's state is here; the engine keeps only bounded caches by session."""

    session_id: str
    question: str
    view: ImageView | None = None
    turns: tuple[Turn, ...] = ()
    images: Mapping[str, DecodedImage] = field(default_factory=dict)
    """By image_id: every image that ``view`` and ``turns`` name."""
    system: str = ""
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    more_views: tuple[ImageView, ...] = ()
    """Further images of this question, after ``view``."""


class StopFlag:
    """Set from any thread; the engine looks at it between tokens, vision chunks and prefill chunks."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()
