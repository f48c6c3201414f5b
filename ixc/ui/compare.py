"""The layout explorer: one image and one detail of it, as each of the project's models gets them."""

from __future__ import annotations

import base64
import itertools
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import gradio as gr

from ixc.application.messages import message_for
from ixc.application.services import Services
from ixc.dual_perspective import INPUT_SIZES_PX, VIEW_PX
from ixc.errors import IxcError
from ixc.image_layout import DUAL_PERSPECTIVE, ImageLayout
from ixc.imaging.decode import DecodedImage
from ixc.imaging.detail import detail_png, most_detailed, seen_detail
from ixc.models.presets import XC2_4KHD_7B, XC2_VL_7B
from ixc.settings import DEFAULT_MAX_PATCHES
from ixc.single_view import ImagePlan
from ixc.tiling import NAMED_BUDGETS, RectPx, SizePx
from ixc.ui.components import Widget, check_budget
from ixc.ui.image_panel import image_gone, session_id
from ixc.ui.plan_view import plan_numbers

_DETAIL_SHARE = 0.1
"""Width of the detail as a share of the image's longer side, before zooming."""
_MIN_DETAIL_PX, _MAX_DETAIL_PX = 48, 512
_DETAIL_ASPECT = 4 / 3
_ZOOMS = (0.5, 1.0, 2.0)

_refusal_numbers = itertools.count(1)
"""Makes two equal refusals differ, so that the page notices the second."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One row of the comparison."""

    name: str
    layout: ImageLayout
    budget: int | None = None
    """None: the one chosen on the page."""


COMPARED = (
    Compared(XC2_VL_7B.title, XC2_VL_7B.layout),
    Compared(XC2_4KHD_7B.title, XC2_4KHD_7B.layout),
    *(Compared("INF-LLaVA", DUAL_PERSPECTIVE, (input_px // VIEW_PX) ** 2) for input_px in INPUT_SIZES_PX),
)


@dataclass(frozen=True, slots=True)
class Look:
    """Where the detail is, as shares of the image, how large, and the budget of the dynamic partition.

    Without ``x`` or ``y`` it is where the image has most of it.
    """

    x: float | None = None
    y: float | None = None
    zoom: float = 1.0
    budget: int = DEFAULT_MAX_PATCHES

    @classmethod
    def from_event(cls, data: Any, limit: int) -> Look:
        """What the page sent; anybody may have sent it. Raises BudgetOutOfRange."""
        data = data if isinstance(data, dict) else {}
        x, y = (_share(data.get(name)) for name in ("x", "y"))
        zoom = _number(data.get("zoom"), 1.0)
        budget = check_budget(data.get("budget", min(DEFAULT_MAX_PATCHES, limit)), limit)
        return cls(x, y, min(_ZOOMS, key=lambda each: abs(each - zoom)), budget)

    def placed(self, image: DecodedImage) -> Look:
        """With a place."""
        if self.x is not None and self.y is not None:
            return self
        x, y = most_detailed(image.pixels_HWC, self._detail_px(image.size_px))
        return replace(self, x=x, y=y)

    def rect(self, image: DecodedImage) -> RectPx:
        """The detail in whole original pixels, moved so that it lies inside the image."""
        look, size_px, detail_px = self.placed(image), image.size_px, self._detail_px(image.size_px)
        left = min(max(round(look.x * size_px.width - detail_px.width / 2), 0), size_px.width - detail_px.width)
        top = min(max(round(look.y * size_px.height - detail_px.height / 2), 0), size_px.height - detail_px.height)
        return RectPx(left, top, left + detail_px.width, top + detail_px.height)

    def _detail_px(self, size_px: SizePx) -> SizePx:
        wanted = max(size_px.height, size_px.width) * _DETAIL_SHARE
        width = min(round(min(max(wanted, _MIN_DETAIL_PX), _MAX_DETAIL_PX) * self.zoom), size_px.width)
        return SizePx(min(max(round(width / _DETAIL_ASPECT), 1), size_px.height), width)


def layout_compare(services: Services) -> Widget:
    limit = services.settings.max_patches_limit
    shown = {"max": limit, "named": offered_budgets(limit), "zooms": list(_ZOOMS)}
    return Widget("compare", None, events=("look",), settings=("compare", shown), elem_id="ixc-compare")


def offered_budgets(limit: int) -> list[int]:
    """The named budgets up to ``limit``, and ``limit`` itself where it keeps the largest of them out."""
    return sorted({min(budget, limit) for budget in NAMED_BUDGETS if budget <= limit or budget == max(NAMED_BUDGETS)})


def connect_compare(compare: Widget, services: Services) -> None:
    """Attach the handler. Moves come faster than answers; of those made meanwhile, only the last one is answered."""
    handlers = CompareHandlers(services)
    compare.look(
        handlers.look, None, compare, queue=False, show_progress="hidden", api_visibility="private", trigger_mode="always_last"
    )


class CompareHandlers:
    """Functions of (session, input)."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def look(self, event: gr.EventData, request: gr.Request) -> Any:
        """One detail of the image. The page asks only while it shows one, so an image that is not held is gone."""
        held = self._services.store.current(session_id(request))
        try:
            if held is None:
                raise image_gone()
            look = Look.from_event(event._data, self._services.settings.max_patches_limit)
            return compare_page_value(held.image, look, self._services.settings.max_patches_limit)
        except IxcError as error:
            refusal = {"error": message_for(error).page_value(), "isGone": held is None, "number": next(_refusal_numbers)}
            return {"imageId": None, "rows": [], **refusal}


def compare_page_value(image: DecodedImage, look: Look, limit: int) -> dict[str, Any]:
    """The detail's place, the original's pixels there, and one row for each way of cutting.

    It says what was asked: moves come faster than answers, and the page asks again until it has that of its last one. And where
    that is, for a page that asked without a place.
    """
    placed = look.placed(image)
    rect = placed.rect(image)
    original = image.pixels_HWC[int(rect.top) : int(rect.bottom), int(rect.left) : int(rect.right)]
    return {
        "imageId": image.image_id[:16],
        "size": [image.size_px.width, image.size_px.height],
        "rect": [rect.left, rect.top, rect.right, rect.bottom],
        "askedFor": asdict(look),
        "place": [placed.x, placed.y],
        "original": _data_address(detail_png(original)),
        "rows": [_row(image, compared, look, rect, limit) for compared in COMPARED],
        "error": None,
    }


def _row(image: DecodedImage, compared: Compared, look: Look, rect: RectPx, limit: int) -> dict[str, Any]:
    plan = compared.layout.plan(image.size_px, compared.budget or look.budget)
    seen = seen_detail(image.pixels_HWC, plan, rect)
    return {
        "name": compared.name,
        "plan": plan_numbers(plan, limit),
        "seenPixels": plan.resized_px.height * plan.resized_px.width,
        "usefulPixels": useful_pixels(plan),
        "views": plan.num_views,
        "detail": {
            "src": _data_address(detail_png(seen.pixels_HWC)),
            "size": [seen.pixels_HWC.shape[1], seen.pixels_HWC.shape[0]],
            "rect": [round(edge, 3) for edge in (seen.rect.left, seen.rect.top, seen.rect.right, seen.rect.bottom)],
        },
    }


def useful_pixels(plan: ImagePlan) -> int:
    """Pixels of the picture that carry detail of the original: enlarging adds none, in either direction."""
    seen, original = plan.resized_px, plan.original_px
    return min(seen.height, original.height) * min(seen.width, original.width)


def _data_address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _share(value: Any) -> float | None:
    """None for what is no number."""
    share = _number(value, math.nan)
    return None if math.isnan(share) else min(max(share, 0.0), 1.0)


def _number(value: Any, default: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else default
