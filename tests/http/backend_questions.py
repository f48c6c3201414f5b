"""What the tests of other servers ask an engine."""

from __future__ import annotations

from ixc.chat.events import TextDelta
from ixc.chat.request import ChatRequest
from ixc.conversation import ImageView
from ixc.settings import GenerationSettings

GREEDY = GenerationSettings(max_new_tokens=8, do_sample=False, repetition_penalty=1.0)


def question(image, text="What?", *, turns=(), generation=GREEDY, budget=2):
    view = ImageView(image.image_id, budget)
    return ChatRequest("session", text, view, tuple(turns), {image.image_id: image}, "Be brief.", generation)


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))
