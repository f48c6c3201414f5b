"""The same question for the native engine and for vLLM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ixc.chat.engine import Engine
from ixc.chat.events import Finished, FinishReason, TextDelta
from ixc.chat.prompt import ImageSegment, encode_prompt
from ixc.chat.remote_messages import encode_image
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView, Turn
from ixc.imaging.decode import DecodedImage, decode_image
from ixc.settings import GenerationSettings, ImageLimits


@cache
def read(path: Path) -> DecodedImage:
    return decode_image(path, ImageLimits())


@dataclass(frozen=True)
class Question:
    """A question about images at a budget, after others: (question, images, answer) each."""

    text: str
    images: tuple[Path, ...] = ()
    max_patches: int = 2
    earlier: tuple[tuple[str, tuple[Path, ...], str], ...] = ()

    def messages(self) -> list[dict]:
        """For an OpenAI-compatible server, images as data: URLs."""
        messages = []
        for text, images, answer in (*self.earlier, (self.text, self.images, None)):
            urls = [encode_image(read(path).pixels_HWC) for path in images]
            parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
            messages.append({"role": "user", "content": [*parts, {"type": "text", "text": text}] if parts else text})
            if answer is not None:
                messages.append({"role": "assistant", "content": answer})
        return messages

    def request(self, system: str, max_new_tokens: int) -> ChatRequest:
        """For an engine of the project's. A question without images is about those shown last."""
        turns, shown = [], ()
        for text, images, answer in self.earlier:
            shown = images or shown
            turns.append(Turn(text, answer, *self._views(shown)))
        view, more_views = self._views(self.images or shown)
        paths = {path for _, images, _ in self.earlier for path in images} | set(self.images)
        decoded = {read(path).image_id: read(path) for path in paths}
        greedy = GenerationSettings(max_new_tokens=max_new_tokens, do_sample=False, repetition_penalty=1.0)
        return ChatRequest("session", self.text, view, tuple(turns), decoded, system, greedy, more_views=more_views)

    def _views(self, images: tuple[Path, ...]) -> tuple[ImageView | None, tuple[ImageView, ...]]:
        views = tuple(ImageView(read(path).image_id, self.max_patches) for path in images)
        return (views[0] if views else None), views[1:]


@dataclass(frozen=True)
class Answer:
    """What came of it. ``new_ids`` without the token that ended the answer."""

    prompt_ids: list[int]
    new_ids: list[int]
    text: str
    is_cut: bool


def ask_native(engine: Engine, question: Question, max_new_tokens: int) -> Answer:
    """By the project's own engine, from scratch."""
    request = question.request(engine.default_system, max_new_tokens)
    recorded: list[int] = []
    keep = engine._keep
    engine._keep = lambda job, prefix: recorded.extend(job.generated_ids) or keep(job, prefix)
    try:
        events = list(engine.answer(request, StopFlag()))
    finally:
        engine._keep = keep
        engine.forget("session")
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert isinstance(events[-1], Finished)
    return Answer(_prompt_ids(engine, engine.told(request)), recorded, text, events[-1].reason is FinishReason.LENGTH)


def _prompt_ids(engine: Engine, request: ChatRequest) -> list[int]:
    chat_format = engine.processor.chat_format
    prompt = chat_format.build_prompt(request.system, request.turns, request.question, request.view, request.more_views)
    ids = []
    for segment in encode_prompt(prompt, request.images, engine.processor).segments:
        ids += [engine.processor.image_token_id] * len(segment) if isinstance(segment, ImageSegment) else segment.ids
    return ids
