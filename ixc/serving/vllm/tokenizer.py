"""The tokenizer as vLLM uses it: messages become exactly the ids that the project's own engine would feed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import BatchEncoding

from ixc.conversation import DEFAULT_SYSTEM, IMAGE_MARKER, TURN_END, XCOMPOSER2_CHAT
from ixc.errors import SettingsError
from ixc.models.families import XCOMPOSER2
from ixc.models.xcomposer2 import tokenization
from ixc.models.xcomposer2.processing import CHAT_TEMPLATE

IMAGE_PLACEHOLDER = "[UNUSED_TOKEN_144]"


class InternLM2Tokenizer(tokenization.InternLM2Tokenizer):
    """Takes its base's place in vLLM; the name is the one that checkpoints' tokenizer_config.json give.

    A template in Jinja could neither strip control strings from what users type nor begin every part with a BOS.
    """

    default_system: str = DEFAULT_SYSTEM
    """Of a conversation without a system message."""

    @classmethod
    def from_pretrained(cls, folder: str, *args: object, **kwargs: object) -> InternLM2Tokenizer:
        """From this project's layout, or from the official one, of whose tokenizer files only the vocabulary counts."""
        own = Path(folder) / "processor_config.json"
        if not own.is_file():
            return InternLM2Tokenizer(str(Path(folder) / XCOMPOSER2.tokenizer_file))
        tokenizer = super().from_pretrained(folder, *args, **kwargs)
        tokenizer.default_system = json.loads(own.read_text(encoding="utf-8")).get("default_system", DEFAULT_SYSTEM)
        return tokenizer

    @property
    def eos_token_id(self) -> int:
        """What ends an answer. vLLM adds the ids of generation_config.json, but not every checkpoint's file has this one."""
        return self.convert_tokens_to_ids(TURN_END)

    def get_chat_template(self, chat_template: str | None = None, tools: object = None) -> str:
        """From it vLLM learns that contents are lists of parts; ``apply_chat_template`` is what renders."""
        return chat_template or CHAT_TEMPLATE

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        tools: object = None,
        add_generation_prompt: bool = True,
        **_: object,
    ) -> list[int]:
        """Messages -> ids with one placeholder for each image.

        Ids even where a text is asked for (``tokenize=False``): vLLM would tokenize the text without the BOS that the reference
        puts before its own. Raises SettingsError for what the model was not trained for.
        """
        if tools:
            raise SettingsError("tools is not supported here; leave it out.")
        if not add_generation_prompt:
            raise SettingsError("The last message must be the user's; leave add_generation_prompt out.")
        return self.encode(conversation_text(conversation, self.default_system))

    def encode(self, text: str, *args: object, **kwargs: object) -> list[int]:
        """As the base class, and a text with image markers as its parts with one placeholder between them.

        Every part has a BOS of its own then (reference quirk), asked for or not.
        """
        parts = text.split(IMAGE_MARKER) if isinstance(text, str) else [text]
        if len(parts) == 1:
            return super().encode(text, *args, **kwargs)
        placeholder = self.convert_tokens_to_ids(IMAGE_PLACEHOLDER)
        ids = super().encode(parts[0]) if parts[0] else []
        for part in parts[1:]:
            ids += [placeholder, *(super().encode(part) if part else [])]
        return ids

    def __call__(self, text: object, *args: object, **kwargs: object) -> BatchEncoding:
        if isinstance(text, str) and IMAGE_MARKER in text:
            ids = self.encode(text)
            return BatchEncoding({"input_ids": ids, "attention_mask": [1] * len(ids)})
        return super().__call__(text, *args, **kwargs)


class InternLMXComposer2Tokenizer(InternLM2Tokenizer):
    """The name in the official tokenizer_config.json."""


def conversation_text(messages: Sequence[Mapping[str, Any]], default_system: str) -> str:
    """The prompt of ``messages``, whose contents are texts or lists of parts, with a marker for each image.

    A message's images stand before its text, as the model was trained. Raises SettingsError unless an optional system message
    is followed by user and assistant in turns, the user last.
    """
    system: str | None = None
    history: list[tuple[str, str]] = []
    questions: list[str] = []
    markers = ""
    for message in messages:
        role, (text, num_images) = message.get("role"), _content(message)
        if role == "system" and num_images == 0:
            system = "\n".join(filter(None, (system, text)))
        elif role == "user":  # two in a row are one question
            questions.append(text)
            markers += IMAGE_MARKER * num_images
        elif role == "assistant" and (questions or not history) and num_images == 0:  # the first may be a greeting
            history.append((markers + "\n".join(filter(None, questions)), text))
            questions, markers = [], ""
        else:
            raise SettingsError(
                "Every message needs a role: system first, then user and assistant in turns; images go with user."
            )
    if not questions:
        raise SettingsError("The last message must be the user's.")
    question = markers + "\n".join(filter(None, questions))
    text = XCOMPOSER2_CHAT.render(default_system if system is None else system, history, question)
    has_image = IMAGE_MARKER in text
    return (XCOMPOSER2_CHAT.opening if has_image else XCOMPOSER2_CHAT.opening_without_image) + text


def _content(message: Mapping[str, Any]) -> tuple[str, int]:
    """A message's text without control strings, and its number of images."""
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = [str(part.get("text") or "") for part in parts if part.get("type") == "text"]
    num_images = sum(part.get("type") == "image" for part in parts)
    return XCOMPOSER2_CHAT.clean("\n".join(texts)), num_images
