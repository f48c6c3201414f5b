"""From a request's body to its answer, over the same line and model as the page's, within bounds of its own."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request

from ixc.application.answering import answer_events
from ixc.application.event_pump import EventPump
from ixc.application.fair_threads import FairThreads, Shares
from ixc.application.services import Services
from ixc.chat.events import Event, Finished, FinishReason, TextDelta
from ixc.chat.interface import ChatEngine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.errors import EngineBusy
from ixc.imaging.decode import DecodedImage, OpenedImage, open_image
from ixc.imaging.large_work import is_large
from ixc.serving.callers import line_caller, session_caller
from ixc.serving.image_urls import ImageSource, is_data_url
from ixc.serving.openai_request import ChatCompletion, ModelNotFound, RequestParser, image_urls
from ixc.serving.stop_strings import StopStrings
from ixc.settings import MEGABYTE

_LOOK_EVERY_S = 0.5
"""How often a caller that waits for a whole answer is looked for."""
_MAX_PIXEL_BYTES = 1536 * MEGABYTE
_ORDINARY = Shares(num_threads=6, threads_each=3, waiting=64, waiting_each=16)
"""For requests and their images, fetched or decoded in threads that nothing else of the app needs.

More may wait of one caller than a page elsewhere, which has this server as its backend, sends at a time.
"""
_LARGE = Shares(num_threads=4, threads_each=2, waiting=16, waiting_each=8)
"""Threads of their own for large images, whose turns take seconds: ordinary ones never wait for these, whoever sends them."""
_FETCHED = Shares(num_threads=16, threads_each=4, waiting=32, waiting_each=8)
"""For requests that name addresses: their threads mostly wait, for servers that may be as slow as the time limit lets them."""


class PixelRoom:
    """Bounds the decoded images of all requests together. Thread-safe."""

    def __init__(self, max_bytes: int = _MAX_PIXEL_BYTES) -> None:
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, images: Iterable[DecodedImage]) -> Iterator[None]:
        """Raises EngineBusy when there is no room left for them. Alone, a request may always."""
        num_bytes = sum(image.pixels_HWC.nbytes for image in images)
        with self._lock:
            if num_bytes and self._num_bytes and self._num_bytes + num_bytes > self._max_bytes:
                raise EngineBusy("The images of other questions fill the memory; try again in a minute.")
            self._num_bytes += num_bytes
        try:
            yield
        finally:
            with self._lock:
                self._num_bytes -= num_bytes


class Answering:
    """What the OpenAI-compatible calls and the MCP tools have in common."""

    def __init__(self, services: Services, source: ImageSource | None = None) -> None:
        settings = services.settings
        self.services = services
        self._source = source or ImageSource(settings.images.max_bytes, may_fetch=settings.fetch_images == "on")
        self._parser = RequestParser(settings.images, self._source, settings.max_patches_limit)
        self._room = PixelRoom()
        self._readers = FairThreads(_ORDINARY, "ixc-api-images")
        self._large_readers = FairThreads(_LARGE, "ixc-api-large-images")
        self._fetchers = FairThreads(_FETCHED, "ixc-api-fetching")

    async def parse(self, body: Any, caller: str) -> ChatCompletion:
        """Raises SettingsError naming the field, ImageUnreadable, ImageTooLarge, or EngineBusy when too many images wait.

        ``caller`` is who shares the threads with others.
        """
        readers = self._readers_for(image_urls(body))
        asked, images = await readers.run(caller, self._parser.parse, body, self.services.default_max_patches)
        return replace(asked, images=await self._decoded(images, caller))

    async def read_image(self, url: str, caller: str) -> DecodedImage:
        """The image of a data: URL or address. Raises as ``parse``."""
        readers, limits = self._readers_for([url]), self.services.settings.images
        image = await readers.run(caller, lambda: open_image(self._source.read(url), limits))
        return (await self._decoded({image.image_id: image}, caller))[image.image_id]

    def _readers_for(self, urls: Iterable[str]) -> FairThreads:
        fetches = self._source.may_fetch and not all(is_data_url(url) for url in urls)
        return self._fetchers if fetches else self._readers

    async def _decoded(self, images: Mapping[str, OpenedImage], caller: str) -> dict[str, DecodedImage]:
        if not images:
            return {}
        has_large = any(is_large(image.size_px) for image in images.values())
        readers = self._large_readers if has_large else self._readers
        return await readers.run(caller, lambda: {image_id: image.decode() for image_id, image in images.items()})

    def check_model(self, named: str) -> None:
        """Raises ModelNotFound unless ``named`` is what the model here is called, in the API's list or on the screen."""
        status = self.services.provider.status
        if named not in (status.api_name, status.name):
            raise ModelNotFound(named, status.api_name)

    def pump(self, asked: ChatCompletion, request: Request | None, *, by_no_other: bool = False) -> EventPump:
        """Start the answer to what ``request`` asked. Conversations of different callers that begin alike stay apart.

        ``by_no_other``: the answer bears the name of the model that was asked for. Once another has taken its place,
        ModelNotFound is raised.
        """
        session_id, caller, stop = session_of(asked, session_caller(request)), line_caller(request), StopFlag()
        check = self._check_of(asked.model) if by_no_other else None
        return EventPump(lambda: self._events(asked, session_id, caller, stop, check), stop)

    def _check_of(self, named: str) -> Callable[[ChatEngine], None]:
        """What raises ModelNotFound for an engine that is not the one that is called ``named`` now."""
        name = self.services.provider.status.name

        def check(engine: ChatEngine) -> None:
            if self.services.provider.status.phase == "loading":  # the one after it, which was chosen a moment ago
                if engine.model_name != name:
                    raise ModelNotFound(named, engine.model_name)
            else:
                self.check_model(named)

        return check

    def _events(
        self,
        asked: ChatCompletion,
        session_id: str,
        caller: str | None,
        stop: StopFlag,
        check: Callable[[ChatEngine], None] | None,
    ) -> Iterator[Event]:
        """The answer's events, ended before a stop string. Raises IxcError; EngineBusy when the line, or its share, is full."""

        def build_request(engine: ChatEngine) -> ChatRequest:
            if check is not None:
                check(engine)
            return ChatRequest(
                session_id=session_id,
                question=asked.question,
                view=asked.views[0] if asked.views else None,
                turns=asked.turns,
                images=asked.images,
                system=engine.default_system if asked.system is None else asked.system,
                generation=engine.default_generation.with_given(asked.given),
                more_views=asked.views[1:],
            )

        with self._room.hold(asked.images.values()), self.services.line.enter(caller) as ticket:
            cut = partial(_cut_at_stops, strings=asked.stop, stop=stop)
            yield from answer_events(self.services, ticket, stop, build_request, cut)


async def stop_when_gone(request: Request, pump: EventPump) -> None:
    """Stop the answer once its caller has gone. A task beside it, for who sends nothing before the whole answer is there."""
    with suppress(asyncio.CancelledError):
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOK_EVERY_S)
        pump.stop()


def _cut_at_stops(events: Iterable[Event], strings: Iterable[str], stop: StopFlag) -> Iterator[Event]:
    stops = StopStrings(tuple(strings))
    for event in events:
        if isinstance(event, TextDelta):
            if text := stops.push(event.text):
                yield TextDelta(text)
            if stops.was_met:
                stop.set()
        elif isinstance(event, Finished):
            if text := stops.finish():
                yield TextDelta(text)
            yield replace(event, reason=FinishReason.END_OF_TURN) if stops.was_met else event
        else:
            yield event


def session_of(asked: ChatCompletion, caller: str) -> str:
    """One id for all turns of a caller's conversation, told from how it began.

    The API keeps no sessions, yet the next turn finds the keys and values of the one before.
    """
    first = next((turn for turn in asked.turns if turn.question or turn.views), None)  # what is before it is a greeting
    question, views = (first.question, first.views) if first else (asked.question, asked.views)
    beginning = (caller, asked.model, asked.system, question, [view.image_id for view in views])
    return "v1-" + hashlib.sha256(repr(beginning).encode()).hexdigest()
