"""Errors of the named endpoints."""

from __future__ import annotations

import gradio as gr

from ixc.application.messages import message_for


def api_error(error: Exception) -> gr.Error:
    """What ``message_for`` says, for callers who read English and get no traceback."""
    return gr.Error(message_for(error).sentence("en"), print_exception=False)
