"""A request body of ``/v1/chat/completions`` to a checked value. What this model cannot do is refused, not ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ixc.conversation import ImageView, Turn
from ixc.errors import ImageTooLarge, IxcError, SettingsError
from ixc.imaging.decode import DecodedImage, OpenedImage, open_image
from ixc.serving.image_urls import ImageSource
from ixc.settings import MEGABYTE, GenerationSettings, ImageLimits

MAX_IMAGES = 8
_LARGEST_IMAGES = 2
"""So many of the largest images that are allowed, or more of smaller ones, fit into one conversation."""
_MAX_STOPS = 4
_MAX_MESSAGES = 256
_MAX_IMAGE_PARTS = 256
"""A conversation may show its images again with every question. 256 of the smallest are more tokens than a model takes."""
_REFUSED_UNLESS: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "audio": (),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "top_k": (-1, 0),
    "min_p": (0,),
    "min_tokens": (0,),
    "max_new_tokens": (),
    "ignore_eos": (False,),
    "stop_token_ids": ([],),
    "structured_outputs": ({},),
}
"""Fields of OpenAI's and of vLLM's that would change the answer, with the values, besides null, that do not."""


class ModelNotFound(IxcError):
    """The model that is named is not the one that is here; or it is not any more, when it is the question's turn."""

    def __init__(self, named: str, there: str) -> None:
        super().__init__(f"There is no model {named[:80]!r} here, only {there!r}.")


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """A request that can be run once the model is known."""

    model: str
    system: str | None
    """None: the model's own."""
    turns: tuple[Turn, ...]
    question: str
    views: tuple[ImageView, ...]
    """The images that the question is about: its own, or else those shown last."""
    images: Mapping[str, DecodedImage]
    given: Mapping[str, Any]
    """Generation settings that were named, for ``GenerationSettings.with_given``."""
    stop: tuple[str, ...]
    streams: bool
    includes_usage: bool


@dataclass(frozen=True, slots=True)
class RequestParser:
    """Reads requests within limits. Fetching images may take seconds: call it from a thread."""

    limits: ImageLimits
    source: ImageSource
    max_patches_limit: int

    def parse(self, body: Any, default_max_patches: int) -> tuple[ChatCompletion, dict[str, OpenedImage]]:
        """The request without its images, and those, which may take seconds to decode, by their ids.

        Raises SettingsError naming the field, ImageUnreadable or ImageTooLarge.
        """
        if not isinstance(body, dict):
            raise SettingsError("The body must be a JSON object.")
        for name, harmless in _REFUSED_UNLESS.items():
            if body.get(name) not in (None, *harmless):
                raise SettingsError(f"{name} is not supported here; leave it out.")
        budget = _budget(body, default_max_patches)
        if not 1 <= budget <= self.max_patches_limit:
            raise SettingsError(f"max_patches must be a whole number from 1 to {self.max_patches_limit}.")
        _check_image_parts(body)
        images = _Images(self.limits, self.source)
        system, turns, question, views = self._conversation(body.get("messages"), budget, images)
        options = body.get("stream_options")
        completion = ChatCompletion(
            model=_text(body, "model"),
            system=system,
            turns=turns,
            question=question,
            views=views,
            images={},
            given=_generation(body),
            stop=_stops(body.get("stop")),
            streams=_flag(body, "stream"),
            includes_usage=isinstance(options, dict) and _flag(options, "include_usage"),
        )
        return completion, images.opened

    def _conversation(
        self, messages: Any, budget: int, images: _Images
    ) -> tuple[str | None, tuple[Turn, ...], str, tuple[ImageView, ...]]:
        if not isinstance(messages, list) or not messages or len(messages) > _MAX_MESSAGES:
            raise SettingsError(f"messages must be a list of 1 to {_MAX_MESSAGES} messages.")
        system: str | None = None
        turns: list[Turn] = []
        shown: tuple[ImageView, ...] = ()  # a question without images is about those shown last
        open_question: tuple[str, tuple[ImageView, ...]] | None = None
        for message in messages:
            role = message.get("role") if isinstance(message, dict) else None
            if role in ("system", "developer"):
                system = "\n".join(filter(None, (system, self._content(message, budget, None)[0])))
            elif role == "user":
                text, views = self._content(message, budget, images)
                before = open_question or ("", ())  # two user messages in a row are one question
                open_question = ("\n".join(filter(None, (before[0], text))), before[1] + views)
            elif role == "assistant" and (open_question is not None or not turns):
                # Null where the assistant called tools.
                answer = "" if message.get("content") is None else self._content(message, budget, None)[0]
                question, views = open_question or ("", ())  # a greeting, which answers nothing
                shown = views or shown
                turns.append(Turn(question, answer, shown[0] if shown else None, shown[1:]))
                open_question = None
            else:
                raise SettingsError("Every message needs a role: system first, then user and assistant in turns.")
        if open_question is None:
            raise SettingsError("The last message must be the user's.")
        question, views = open_question
        return system, tuple(turns), question, views or shown

    def _content(self, message: Mapping[str, Any], budget: int, images: _Images | None) -> tuple[str, tuple[ImageView, ...]]:
        """A message's text and images. Images stand before the text, as the model was trained."""
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list):
            raise SettingsError("A message's content must be a text or a list of parts.")
        texts: list[str] = []
        views: list[ImageView] = []
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text" and isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif kind == "image_url" and images is not None:
                views.append(ImageView(images.read(part.get("image_url")), budget))
            else:
                kinds = "text or image_url" if images is not None else "text, for images go with user messages"
                raise SettingsError(f"A content part must be of type {kinds}.")
        return "\n".join(texts), tuple(views)


class _Images:
    """The images of one request. Each address is read once, however often it is named, and all of them within one deadline."""

    def __init__(self, limits: ImageLimits, source: ImageSource) -> None:
        self._limits, self._source, self._deadline_s = limits, source, source.deadline_s()
        self._ids: dict[str, str] = {}
        self._num_bytes = 0
        self.opened: dict[str, OpenedImage] = {}
        """By their ids."""

    def read(self, image_url: Any) -> str:
        """The image's id. Raises SettingsError, ImageUnreadable or ImageTooLarge."""
        url = _url_of(image_url)
        if not isinstance(url, str):
            raise SettingsError('An image part must look like {"type": "image_url", "image_url": {"url": "data:..."}}.')
        if url not in self._ids:
            self._ids[url] = self._open(url)
        return self._ids[url]

    def _open(self, url: str) -> str:
        data = self._source.read(url, self._deadline_s)
        self._num_bytes += len(data)
        max_bytes = _LARGEST_IMAGES * self._limits.max_bytes
        if self._num_bytes > max_bytes:
            raise ImageTooLarge(f"The images of a conversation may have at most {max_bytes / MEGABYTE:g} MB together.")
        image = open_image(data, self._limits)
        self.opened[image.image_id] = image
        max_megapixels = _LARGEST_IMAGES * self._limits.max_megapixels
        if sum(image.size_px.height * image.size_px.width for image in self.opened.values()) > max_megapixels * 1e6:
            raise SettingsError(f"The images of a conversation may have at most {max_megapixels:g} megapixels together.")
        return image.image_id


def _check_image_parts(body: Mapping[str, Any]) -> None:
    """Raises SettingsError. Before anything is read, so that no request has more than a few addresses fetched."""
    urls = list(islice(image_urls(body), _MAX_IMAGE_PARTS + 1))
    if len(urls) > _MAX_IMAGE_PARTS:
        raise SettingsError(f"The messages may show at most {_MAX_IMAGE_PARTS} images, repeated ones included.")
    if len(set(urls)) > MAX_IMAGES:
        raise SettingsError(f"A conversation may have at most {MAX_IMAGES} images.")


def image_urls(body: Any) -> Iterator[str]:
    """What a request that nobody has checked yet names as its images."""
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            url = _url_of(part.get("image_url")) if isinstance(part, dict) else None
            if isinstance(url, str):
                yield url


def _url_of(image_url: Any) -> Any:
    return image_url.get("url") if isinstance(image_url, dict) else image_url


def _budget(body: Mapping[str, Any], default_max_patches: int) -> int:
    """``max_patches``, or the same in ``mm_processor_kwargs``, where vLLM's requests have it. Raises SettingsError."""
    kwargs = body.get("mm_processor_kwargs")
    if not isinstance(kwargs, dict | None) or set(kwargs or {}) - {"max_patches"}:
        raise SettingsError('mm_processor_kwargs may hold max_patches only: {"max_patches": 16}.')
    named = {_number(each, "max_patches", int, None) for each in (body, kwargs or {})} - {None}
    if len(named) > 1:
        raise SettingsError("max_patches and mm_processor_kwargs name two budgets; leave one of them out.")
    return named.pop() if named else default_max_patches


def _generation(body: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {
        "max_new_tokens": ("max_completion_tokens", int),
        "temperature": ("temperature", float),
        "top_p": ("top_p", float),
        "repetition_penalty": ("repetition_penalty", float),
        "num_beams": ("num_beams", int),
        "seed": ("seed", int),
    }
    if body.get("max_completion_tokens") is None:
        kinds["max_new_tokens"] = ("max_tokens", int)
    named = {field: _number(body, name, kind, None) for field, (name, kind) in kinds.items()}
    given = {field: value for field, value in named.items() if value is not None}
    try:
        GenerationSettings(**given)  # refuses what is out of range, whatever the model's own settings are
    except SettingsError as error:
        length, _ = kinds["max_new_tokens"]  # as the caller has called it
        raise SettingsError(str(error).replace("max_new_tokens", length)) from None
    return given


def _number(body: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or (kind is int and isinstance(value, float) and not value.is_integer()):
        raise SettingsError(f"{name} must be a {'whole ' if kind is int else ''}number.")
    try:
        return kind(value)
    except OverflowError:  # JSON's whole numbers have no bounds
        raise SettingsError(f"{name} is out of range.") from None


def _flag(body: Mapping[str, Any], name: str) -> bool:
    """False where it is left out. A text such as "false" would else count as true."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise SettingsError(f"{name} must be true or false.")
    return bool(value)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{name} is needed; GET /v1/models lists what there is.")
    return value


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or len(stops) > _MAX_STOPS or not all(isinstance(s, str) and s for s in stops):
        raise SettingsError(f"stop must be a text or a list of at most {_MAX_STOPS} texts.")
    return tuple(stops)
