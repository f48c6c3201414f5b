"""A plan drawn as SVG: to lie over the picture in a page, or as a file of its own.

A page may insert the result as it is: it holds numbers and fixed words only, never text that a user wrote.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from ixc.imaging.drawing import (
    ACCENT,
    BADGE,
    LAYERS,
    NEWLINE,
    PADDING_FILL,
    PADDING_HATCH,
    PlanDrawing,
    check_layers,
    check_pixels,
    draw_plan,
)
from ixc.plan_cells import plan_cells
from ixc.single_view import ImagePlan
from ixc.tiling import RectPx, TilePlan

_DOCUMENT_PICTURE_PX = 1600
"""Longer side of the picture that a file of its own carries, at most."""
_DOCUMENT_SIDE_PX = 1440
"""Longer side at which a file of its own opens."""


def plan_svg(plan: ImagePlan, *, layers: Iterable[str] = LAYERS) -> str:
    """The drawing of ``plan`` as an ``<svg>`` element whose view box is the padded image.

    The picture lies at ``draw_plan(plan).picture`` of it. Each layer is ``<g class="ixc-LAYER">``, so a style sheet can hide
    it; colours are attributes, so a style sheet can change them. Each tile (or other cell) is ``<rect data-tile="N">``,
    counting from 0, in the layer "tiles" and takes the pointer. Raises ValueError for an unknown layer.
    """
    return _svg(plan, draw_plan(plan), check_layers(layers))


def plan_svg_document(plan: ImagePlan, pixels_HWC: np.ndarray | None = None, *, layers: Iterable[str] = LAYERS) -> str:
    """The drawing as a file of its own, with its size and, when ``pixels_HWC`` is given, the picture.

    ``pixels_HWC`` is uint8 RGB of ``plan.original_px``. Raises ValueError when it is not, or for an unknown layer.
    """
    if pixels_HWC is not None:
        check_pixels(pixels_HWC, plan)
    drawing = draw_plan(plan)
    background = f'<rect width="{drawing.size_px.width}" height="{drawing.size_px.height}" fill="#fff"/>'
    if pixels_HWC is not None:
        box = drawing.picture
        background += (
            f'<image {_place(box)} preserveAspectRatio="none" href="data:image/jpeg;base64,{_small_jpeg(pixels_HWC, plan)}"/>'
        )
    scale = _DOCUMENT_SIDE_PX / max(drawing.size_px.width, drawing.size_px.height)
    size = f' width="{_number(drawing.size_px.width * scale)}" height="{_number(drawing.size_px.height * scale)}"'
    tiles = f"{plan.grid.cols} x {plan.grid.rows} tiles, " if isinstance(plan, TilePlan) else ""
    title = f"<title>{tiles}{plan.num_visual_tokens} visual tokens</title>"
    svg = _svg(plan, drawing, check_layers(layers), size=size, background=title + background)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{svg}\n'


def _svg(plan: ImagePlan, drawing: PlanDrawing, layers: frozenset[str], *, size: str = "", background: str = "") -> str:
    width, height, cells = drawing.size_px.width, drawing.size_px.height, plan_cells(plan)
    draw = {"padding": _padding, "tiles": _tiles, "numbers": _numbers, "newlines": _newlines}
    groups = "".join(draw[layer](drawing) for layer in LAYERS if layer in layers)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ixc-plan" viewBox="0 0 {width} {height}"{size} '
        f'data-rows="{cells.grid.rows}" data-cols="{cells.grid.cols}">{background}{groups}</svg>'
    )


def _padding(drawing: PlanDrawing) -> str:
    # Two drawings of one grid on a page share the pattern's name, and the pattern is the same.
    name = f"ixc-hatch-{drawing.size_px.width}-{drawing.size_px.height}"
    step, line = _number(7 * drawing.unit), _number(2.5 * drawing.unit)
    pattern = (
        f'<pattern id="{name}" width="{step}" height="{step}" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect class="ixc-padding-fill" width="{step}" height="{step}" fill="{PADDING_FILL}"/>'
        f'<rect class="ixc-padding-line" width="{line}" height="{step}" fill="{PADDING_HATCH}"/></pattern>'
    )
    rects = "".join(f"<rect {_place(rect)}/>" for rect in drawing.padding)
    return f'<g class="ixc-padding" fill="url(#{name})">{pattern}{rects}</g>'


def _tiles(drawing: PlanDrawing) -> str:
    """The borders as one path, because its lines keep their width at any scale, and a transparent rectangle per tile."""
    width, height = drawing.size_px.width, drawing.size_px.height
    lines = [f"M0 {_number(y)}h{width}" for y in _edges((tile.top, tile.bottom) for tile in drawing.tiles)]
    lines += [f"M{_number(x)} 0v{height}" for x in _edges((tile.left, tile.right) for tile in drawing.tiles)]
    rects = "".join(f'<rect data-tile="{tile}" {_place(rect)}/>' for tile, rect in enumerate(drawing.tiles))
    path = f'd="{"".join(lines)}" vector-effect="non-scaling-stroke" pointer-events="none"'
    return (
        f'<g class="ixc-tiles" fill="{ACCENT}" fill-opacity="0">{rects}'
        f'<path class="ixc-halo" {path} stroke="#fff" stroke-opacity=".4" stroke-width="3"/>'
        f'<path class="ixc-borders" {path} stroke="{ACCENT}" stroke-opacity=".8" stroke-width="1.2"/></g>'
    )


def _edges(pairs: Iterable[tuple[float, float]]) -> list[float]:
    return sorted({edge for pair in pairs for edge in pair})


def _numbers(drawing: PlanDrawing) -> str:
    em = drawing.em
    texts = ""
    for badge in drawing.numbers:
        x, baseline = (badge.box.left + badge.box.right) / 2, badge.box.bottom - 0.29 * em
        texts += f'<text x="{_number(x)}" y="{_number(baseline)}">{badge.text}</text>'
    return (
        f'<g class="ixc-numbers" pointer-events="none" fill="{ACCENT}" font-family="system-ui,sans-serif" font-weight="600" '
        f'font-size="{_number(em)}" text-anchor="middle">{_boxes(drawing, [badge.box for badge in drawing.numbers])}{texts}</g>'
    )


def _newlines(drawing: PlanDrawing) -> str:
    arrows = ""
    for arrow in drawing.newline_arrows:
        steps = [(x - x0, y - y0) for (x0, y0), (x, y) in pairwise(arrow)]
        arrows += (
            f"M{_number(arrow[0][0])} {_number(arrow[0][1])}l{' '.join(f'{_number(dx)} {_number(dy)}' for dx, dy in steps)}"
        )
    return (
        f'<g class="ixc-newlines" pointer-events="none">{_boxes(drawing, drawing.newline_boxes)}'
        f'<path d="{arrows}" fill="none" stroke="{NEWLINE}" stroke-width="{_number(0.14 * drawing.em)}" '
        'stroke-linecap="round" stroke-linejoin="round"/></g>'
    )


def _boxes(drawing: PlanDrawing, boxes: Iterable[RectPx]) -> str:
    """White boxes behind labels as one path; its round joins make round corners."""
    radius = round(0.25 * drawing.em, 0 if drawing.unit >= 2 else 1)
    path = "".join(
        f"M{_number(box.left + radius)} {_number(box.top + radius)}h{_number(box.right - box.left - 2 * radius)}"
        f"v{_number(box.bottom - box.top - 2 * radius)}h{_number(box.left - box.right + 2 * radius)}z"
        for box in boxes
    )
    return (
        f'<path class="ixc-boxes" d="{path}" fill="{BADGE}" stroke="{BADGE}" stroke-width="{_number(2 * radius)}" '
        'stroke-linejoin="round" opacity=".88"/>'
    )


def _place(rect: RectPx) -> str:
    """The four attributes that place a rectangle; x and y are left out when 0."""
    x = f'x="{_number(rect.left)}" ' if rect.left else ""
    y = f'y="{_number(rect.top)}" ' if rect.top else ""
    return f'{x}{y}width="{_number(rect.right - rect.left)}" height="{_number(rect.bottom - rect.top)}"'


def _number(value: float) -> str:
    """At most one decimal: a tenth of a padded pixel is never seen."""
    return f"{value:.1f}".removesuffix(".0")


def _small_jpeg(pixels_HWC: np.ndarray, plan: ImagePlan) -> str:
    """The picture, scaled for the eye, as base64 JPEG."""
    import cv2  # only here: the page's drawing must not wait for OpenCV

    scale = min(1.0, _DOCUMENT_PICTURE_PX / max(plan.original_px.height, plan.original_px.width))
    size = (max(1, round(plan.original_px.width * scale)), max(1, round(plan.original_px.height * scale)))
    small_HWC = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels_HWC
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return base64.b64encode(jpeg).decode("ascii")
