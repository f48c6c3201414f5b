"""Two places where users of one Gradio 6.31 server get into each other's way, put right from outside."""

from __future__ import annotations

import secrets
from typing import Any

import gradio as gr
from gradio import route_utils

_NONCE_BYTES = 16


def keep_users_apart(demo: gr.Blocks) -> None:
    """After ``demo.queue()``. Uploads are kept apart for every Gradio app of the process."""
    _let_queue_drop_what_nobody_hears(demo)
    if not issubclass(route_utils.GradioUploadFile, _SeparateUpload):
        route_utils.GradioUploadFile = _SeparateUpload


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


class _SeparateUpload(route_utils.GradioUploadFile):
    """An upload with a folder of its own.

    Gradio names the folder by the content alone. The file is deleted once it is opened, so of two users who upload the same
    file at the same time the second would find it gone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sha.update(secrets.token_bytes(_NONCE_BYTES))
