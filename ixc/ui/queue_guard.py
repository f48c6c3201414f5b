"""Keeps Gradio's queue alive when a question's session is one that nobody can listen to."""

from __future__ import annotations

from typing import Any

import gradio as gr


def guard_queue(demo: gr.Blocks) -> None:
    """Let the queue of ``demo`` drop what it cannot deliver.

    Gradio 6.31 raises KeyError where a session has no mailbox, because it is named "" or because it was forgotten among 2,000
    others. Where that is raised in the loop that serves the queue, the loop ends, and with it every answer until a restart.
    """
    queue = demo._queue
    send = queue.send_message

    def send_where_possible(event: Any, event_message: Any) -> None:
        try:
            send(event, event_message)
        except KeyError:
            event.alive = False  # nobody can hear its answer, so it is not run

    queue.send_message = send_where_possible
