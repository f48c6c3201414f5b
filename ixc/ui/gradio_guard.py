"""Where users of one Gradio 6.31 server get into each other's way, or leave something behind, put right from outside."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import route_utils
from gradio.utils import LRUCache
from gradio_client.utils import strip_invalid_filename_characters
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException

_NONCE_BYTES = 16


def keep_users_apart(demo: gr.Blocks) -> None:
    """After ``demo.queue()``. Uploads are kept apart for every Gradio app of the process."""
    _let_queue_drop_what_nobody_hears(demo)
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
                    file.close()
                    Path(file.name).unlink(missing_ok=True)


def _plain_name(name: str) -> str:
    """One that Gradio can give the file: it would leave behind a file that it cannot."""
    plain = strip_invalid_filename_characters(Path(name.encode("utf-8", "ignore").decode()).name)
    return "file" if plain == ".." else plain
