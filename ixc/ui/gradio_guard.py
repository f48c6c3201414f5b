"""Where users of one Gradio 6.31 server get into each other's way, or leave something behind, put right from outside."""

from __future__ import annotations

import logging
import secrets
import sys
import traceback
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio import queueing, route_utils, routes, utils
from gradio.state_holder import SessionState
from gradio.utils import LRUCache
from gradio_client.utils import strip_invalid_filename_characters
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException

from ixc.application.kept_bodies import KEEP_BODY
from ixc.application.raised import where_raised
from ixc.application.waiting import page_caller

logger = logging.getLogger(__name__)

_NONCE_BYTES = 16
_SHARE = 1 / 2
"""Of the places in Gradio's queue, for one network."""
_CALL_FAILED = "The call failed. What it takes is told at /gradio_api/info; if it was right, tell whoever runs this app."


def keep_users_apart(demo: gr.Blocks) -> None:
    """After ``demo.queue()``. Uploads are kept apart for every Gradio app of the process."""
    _let_queue_drop_what_nobody_hears(demo)
    _share_queue(demo)
    if not issubclass(route_utils.GradioUploadFile, _SeparateUpload):
        route_utils.GradioUploadFile = _SeparateUpload
        route_utils.GradioMultiPartParser = _OneFile


def _let_queue_drop_what_nobody_hears(demo: gr.Blocks) -> None:
    """Gradio raises KeyError where a session has no mailbox: it is named "", or was forgotten among 2,000 others.

    Raised in the loop that serves the queue, it ends that loop, and with it every answer until a restart.
    """
    queue = demo._queue
    send = queue.send_message

    def send_where_possible(event: Any, event_message: Any) -> None:
        try:
            send(event, event_message)
        except KeyError:
            event.alive = False  # nobody can hear its answer, so it is not run

    queue.send_message = send_where_possible


def _share_queue(demo: gr.Blocks) -> None:
    """No network fills Gradio's queue, and what a call in there holds of its request counts until the call has ended."""
    queue = demo._queue
    push, process = queue.push, queue.process_events
    let_go: weakref.WeakKeyDictionary[Any, weakref.finalize] = weakref.WeakKeyDictionary()

    async def push_in_share(body: Any, request: gr.Request, username: str | None) -> Any:
        def caller_of(user: str | None, asked: Any) -> str | None:
            return page_caller(user, getattr(asked.client, "host", ""))

        caller = caller_of(username, request)
        waiting = [event for each in queue.event_queue_per_concurrency_id.values() for event in each.queue]
        num_own = sum(caller_of(event.username, event.request) == caller for event in waiting)
        if caller is not None and queue.max_size is not None and num_own >= queue.max_size * _SHARE:
            return False, "Too many calls of your network wait; try again in a minute.", "queue_full"
        answer = await push(body=body, request=request, username=username)
        event = queue.event_ids_to_events.get(answer[1]) if answer[0] else None
        if event is not None and KEEP_BODY in request.scope:
            let_go[event] = weakref.finalize(event, request.scope[KEEP_BODY]())  # also when it is dropped from the queue
            let_go[event].atexit = False
        return answer

    async def process_and_let_go(events: list[Any], *args: Any) -> None:
        try:
            await process(events, *args)
        finally:  # the loops that serve the queue hold the last event that they saw until there is another
            for event in events:
                event.data = event.request = None
                if event in let_go:
                    let_go[event]()

    queue.push, queue.process_events = push_in_share, process_and_let_go


def keep_words_to_users(demo: gr.Blocks) -> None:
    """No log and no memory has what users send once it is answered. For every Gradio app of the process, but for ``demo``.

    Gradio prints what a call raises, which may quote all that it was sent; a session's last inputs and outputs it keeps for
    links to a page's state, which this app does not have.
    """
    quiet = SimpleNamespace(**{**vars(traceback), "print_exc": _log_failed_call})
    queueing.traceback = routes.traceback = quiet
    queueing.error_payload = utils.error_payload = _error_payload
    SessionState._update_value_in_config = lambda *_: None

    def validate_inputs(fn: Any, inputs: list[Any]) -> None:
        if len(inputs) < len(fn.inputs):
            text = f"The call needs {len(fn.inputs)} values and got {len(inputs)}; they are named at /gradio_api/info."
            raise gr.Error(text, print_exception=False)

    demo.validate_inputs = validate_inputs


def _log_failed_call(*_: Any, **__: Any) -> None:
    if (error := sys.exc_info()[1]) is not None:
        logger.error("a call failed", extra={"raised": where_raised(error)})


def _error_payload(error: BaseException | None, show_error: bool) -> dict[str, Any]:
    """As Gradio's, with a sentence where that says nothing."""
    payload = _gradios_error_payload(error, show_error)
    return payload if payload["error"] is not None else {**payload, "error": _CALL_FAILED}


_gradios_error_payload = utils.error_payload


def keep_no_past_events(demo: gr.Blocks) -> None:
    """After ``demo.queue()``: nothing is remembered of an event that has ended.

    Gradio would keep the last 10,000 for a page about the app's use, which this app does not have, and after every one
    summarise all of them with pandas: 4 ms an answer after 4,000, in one of many threads, whose heaps keep the room it took.
    It would also list for ever which events a session waits for, beside its mailboxes of which it keeps 2,000.
    """
    queue = demo._queue
    queue.ANALYTICS_MAX_EVENTS = 0
    queue.pending_event_ids_session = LRUCache(queue.pending_messages_per_session.max_size)


def forget_mailbox(demo: gr.Blocks) -> Callable[[gr.Request], Awaitable[None]]:
    """For ``demo.unload``: drop a closed page's mailbox, or, if an answer is under way to it, when a later page is closed.

    A page that goes on after all gets a new one with its next question.
    """
    closed: set[str] = set()

    async def forget(request: gr.Request) -> None:  # in the event loop, which alone changes these
        queue = demo._queue
        closed.add(request.session_hash)
        for session in tuple(closed):
            awaited = queue.pending_event_ids_session.get(session, ())
            if not any(event in queue.event_ids_to_events for event in awaited):
                queue.pending_messages_per_session.pop(session, None)
                queue.pending_event_ids_session.pop(session, None)
                closed.discard(session)

    return forget


class _SeparateUpload(route_utils.GradioUploadFile):
    """An upload with a folder of its own.

    Gradio names the folder by the content alone. The file is deleted once it is opened, so of two users who upload the same
    file at the same time the second would find it gone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sha.update(secrets.token_bytes(_NONCE_BYTES))


class _OneFile(route_utils.GradioMultiPartParser):
    """Reads a form that is one file, as the page and the clients send it. Of a form that is not, nothing stays.

    Gradio deletes the file only where the form itself is wrong: it would keep what came of an upload that broke off, and
    files that its answer does not name, which nobody could ever open. Texts in a form it would hold in memory.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "max_files": 1, "max_fields": 0})

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        part = self._current_part
        if part.field_name != "files":
            raise MultiPartException('Send the file as "files".')
        part.file.filename = _plain_name(part.file.filename)

    async def parse(self) -> FormData:
        is_whole = False
        try:
            form = await super().parse()
            if len(self.items) < len(self._files_to_close_on_error):
                raise MultiPartException("The form broke off; send the file again.")
            is_whole = True
            return form
        finally:
            if not is_whole:  # also when the sender has gone, or was too slow
                for file in self._files_to_close_on_error:
                    with suppress(OSError):  # it writes what it still holds, which a full disk does not take
                        file.close()
                    Path(file.name).unlink(missing_ok=True)


def _plain_name(name: str) -> str:
    """One that Gradio can give the file: it would leave behind a file that it cannot."""
    plain = strip_invalid_filename_characters(Path(name.encode("utf-8", "ignore").decode()).name)
    return "file" if plain == ".." else plain
