"""The page's own components: ``gr.HTML`` with a fixed template, drawn and driven by ``assets/ui/*.js``.

Their templates never contain values: values reach the page as JSON and are written into text nodes there, so nothing that a
user, a file name or a model says can become markup.
"""

from __future__ import annotations

import html
import json
from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import updateable
from gradio.data_classes import FileData

from ixc.errors import BudgetOutOfRange, ImageUnreadable
from ixc.settings import MEGABYTE, ImageLimits
from ixc.tiling import NAMED_BUDGETS
from ixc.ui.api_errors import api_error

_ON_LOAD = "ixc.{widget}(element, {{trigger, props, upload, watch}})"


class _WithoutStubs(type(gr.HTML)):
    """Gradio's metaclass writes a .pyi file beside every module that defines a component. Importing shall write nothing.

    What else it does for a class without events of its own: it records the arguments of ``__init__``.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> type:
        if "__init__" in attrs:
            attrs["__init__"] = updateable(attrs["__init__"])
        return ABCMeta.__new__(cls, name, bases, attrs)


class Widget(gr.HTML, metaclass=_WithoutStubs):
    """A region of the page drawn by the script function ``ixc.<widget>``.

    ``events`` are the names that the script may trigger; ``settings`` is constant JSON that it reads from its element.
    """

    def __init__(
        self,
        widget: str,
        value: Any = None,
        *,
        events: tuple[str, ...] = (),
        settings: tuple[str, dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        template = ""
        if settings is not None:
            name, values = settings
            template = f"<div hidden data-{name}='{html.escape(json.dumps(values))}'></div>"
        # gr.HTML offers a listener for every event whose quoted name stands in the script.
        listed = "".join(f' "{event}";' for event in events)
        super().__init__(
            value,
            html_template=template,
            js_on_load=_ON_LOAD.format(widget=widget) + ";" + listed,
            apply_default_css=False,
            container=False,
            padding=False,
            **kwargs,
        )

    def get_block_name(self) -> str:
        return "html"

    def preprocess(self, payload: Any) -> Any:
        return payload

    def postprocess(self, value: Any) -> Any:
        return value


class ImageUpload(Widget):
    """A file that the user uploaded; handlers get its path. Nothing but a file from Gradio's upload folder gets through."""

    data_model = FileData

    def __init__(self, limits: ImageLimits, **kwargs: Any) -> None:
        shown = {"mb": limits.max_bytes // MEGABYTE, "megapixels": round(limits.max_megapixels)}
        super().__init__("dropZone", events=("upload",), settings=("limits", shown), **kwargs)

    def preprocess(self, payload: FileData | None) -> Path | None:
        return Path(payload.path) if payload else None

    def postprocess(self, value: Any) -> None:
        return None

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """Leave the upload where it is: Gradio has checked the folder, and the handler deletes it once it is decoded.

        An address is refused, because the app fetches nothing from anywhere.
        """
        if url_or_file_path is None:
            return None
        if str(url_or_file_path).lower().startswith(("http://", "https://")):
            raise api_error(ImageUnreadable("Addresses are not fetched; download the image and upload the file."))
        return str(url_or_file_path)

    def api_info(self) -> dict[str, Any]:
        return FileData.model_json_schema()

    def example_payload(self) -> Any:
        return None


class Budget(Widget):
    """The max-patches slider with its named budgets. Handlers get an int within the limit."""

    def __init__(self, limit: int, value: int = 1, **kwargs: Any) -> None:
        self.limit = limit
        shown = {"max": limit, "named": [budget for budget in NAMED_BUDGETS if budget <= limit]}
        super().__init__("budget", value, events=("input",), settings=("budgets", shown), **kwargs)

    def preprocess(self, payload: Any) -> int:
        try:
            return check_budget(payload, self.limit)
        except BudgetOutOfRange as error:
            raise api_error(error) from error


def check_budget(value: object, limit: int) -> int:
    """``value`` as a budget. Raises BudgetOutOfRange unless it is a whole number from 1 to ``limit``."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value != value or not 1 <= value <= limit or value != int(value):
        raise BudgetOutOfRange(f"Max patches must be a whole number from 1 to {limit}.")
    return int(value)
