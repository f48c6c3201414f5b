"""What stands in which visual token's cell: the targets of the auxiliary loss.

A visual token looks at 28x28 pixels of its view. Its target is the characters whose boxes' centres lie there, in reading
order, in K slots; where text is too small to be read it is how small the text is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ixc.tiling import TILE_PX, TOKENS_PER_SIDE, TilePlan
from ixc.training.wording import CHARACTERS

EMPTY = 0
"""Class of a slot that holds no character; character classes follow from 1."""
PATCHES_PER_SIDE = 2 * TOKENS_PER_SIDE
IGNORED = -100
"""Every slot of a cell with more characters than slots: no target."""
NUM_CHARACTER_CLASSES = len(CHARACTERS) + 1
CELL_PX = TILE_PX / TOKENS_PER_SIDE

LEGIBLE_PX = 14.0
"""Size below which text counts as too small to be read: two characters a cell, one for each patch of the tower."""
HUGE_PX = 80.0
"""Size above which a character or shape is no longer seen in its cell; it is read in the global view, where it is smaller."""
TINY_STEPS = (1.5, 2.3, 3.5)
"""Text too small to be read falls into classes by how many times larger it would have to be."""
TINY = NUM_CHARACTER_CLASSES
"""First of the classes of text that is too small."""
MARK_COLOURS = ("red", "green", "blue", "yellow", "purple", "black")
MARK_FORMS = ("circle", "square", "triangle", "star")
MARK = TINY + len(TINY_STEPS) + 1
"""First of the classes of coloured shapes, each told by the cell of its centre."""
NUM_CLASSES = MARK + len(MARK_COLOURS) * len(MARK_FORMS)
_CLASS_OF = {char: index + 1 for index, char in enumerate(CHARACTERS)}


def classes_of(text: str) -> np.ndarray:
    """Character classes, int64 [len(text)]. Raises KeyError for a character outside ``CHARACTERS``."""
    return np.array([_CLASS_OF[char] for char in text], np.int64)


def mark_class(colour: str, form: str) -> int:
    """Class of a coloured shape."""
    return MARK + MARK_COLOURS.index(colour) * len(MARK_FORMS) + MARK_FORMS.index(form)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What a picture shows, in reading order: classes int64 [n], boxes float32 [n, 4] and sizes float32 [n, 2].

    A box is left, top, right, bottom. A size is the mean advance of the character's line and three quarters of its capitals'
    height, which are about equal in upright type; the smaller one decides whether the character can be read.
    """

    classes: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray

    def placed(self, scale_x: float, scale_y: float, left: float = 0.0, top: float = 0.0) -> Glyphs:
        """Scaled, then moved by (left, top)."""
        boxes_N4 = self.boxes * np.array([scale_x, scale_y] * 2, np.float32)
        boxes_N4 = boxes_N4 + np.array([left, top] * 2, np.float32)
        return Glyphs(self.classes, boxes_N4, self.sizes * np.array([scale_x, scale_y], np.float32))

    def chosen(self, where_N: np.ndarray) -> Glyphs:
        return Glyphs(self.classes[where_N], self.boxes[where_N], self.sizes[where_N])

    @property
    def is_legible(self) -> np.ndarray:
        return self.sizes.min(1, initial=np.inf) >= LEGIBLE_PX

    def shown_classes(self) -> np.ndarray:
        """The classes at this size: characters too small to be read become one of the classes of tiny text."""
        enlargement_N = LEGIBLE_PX / np.maximum(self.sizes.min(1, initial=np.inf), 1e-3)
        return np.where(self.is_legible, self.classes, TINY + np.searchsorted(TINY_STEPS, enlargement_N))

    @property
    def is_huge(self) -> np.ndarray:
        """Those that are too large for their cells: bool [n]."""
        return self.sizes.min(1, initial=np.inf) > HUGE_PX


def cell_targets(glyphs: Glyphs, num_slots: int, rows: int, cols: int) -> np.ndarray:
    """Targets of a map of ``rows`` x ``cols`` cells of 28 px: int64 [rows, cols, num_slots].

    ``glyphs`` are in the map's pixels; those outside and huge ones are left out. Tiny text fills the first slot of cells
    without others.
    """
    targets = np.zeros((rows * cols, num_slots), np.int64)
    place_N, class_N = _places(glyphs, rows, cols), glyphs.shown_classes()
    is_tiny_N = (place_N >= 0) & ~glyphs.is_legible & ~glyphs.is_huge
    targets[place_N[is_tiny_N], 0] = class_N[is_tiny_N]
    read_M, place_M, slot_M = _read_in_cells(glyphs, rows, cols)
    fits_M = slot_M < num_slots
    targets[place_M[fits_M], slot_M[fits_M]] = class_N[read_M[fits_M]]
    targets[place_M[~fits_M]] = IGNORED
    return targets.reshape(rows, cols, num_slots)


def cell_slots(glyphs: Glyphs, num_slots: int, rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """For every glyph its cell, counted in reading order, and its slot there: two int64 [N], as in ``cell_targets``.

    -1 for those that no slot can tell: outside, huge, too small, or in a cell of more characters than slots.
    """
    read_M, place_M, slot_M = _read_in_cells(glyphs, rows, cols)
    is_full = np.zeros(rows * cols, bool)
    is_full[place_M[slot_M >= num_slots]] = True
    told_M = ~is_full[place_M]
    cells_N, slots_N = np.full(len(glyphs.classes), -1), np.full(len(glyphs.classes), -1)
    cells_N[read_M[told_M]], slots_N[read_M[told_M]] = place_M[told_M], slot_M[told_M]
    return cells_N, slots_N


def _places(glyphs: Glyphs, rows: int, cols: int) -> np.ndarray:
    """Cell of each glyph's centre, counted in reading order, -1 outside: int64 [N]."""
    boxes_N4 = glyphs.boxes
    col_N = np.floor((boxes_N4[:, 0] + boxes_N4[:, 2]) / 2 / CELL_PX).astype(int)
    row_N = np.floor((boxes_N4[:, 1] + boxes_N4[:, 3]) / 2 / CELL_PX).astype(int)
    is_inside_N = (col_N >= 0) & (col_N < cols) & (row_N >= 0) & (row_N < rows)
    return np.where(is_inside_N, row_N * cols + col_N, -1)


def _read_in_cells(glyphs: Glyphs, rows: int, cols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the glyphs that can be read, sorted by cell; the cell of each; and how many stand before it there."""
    place_N = _places(glyphs, rows, cols)
    read_M = np.flatnonzero((place_N >= 0) & glyphs.is_legible & ~glyphs.is_huge)
    read_M = read_M[np.argsort(place_N[read_M], kind="stable")]
    place_M = place_N[read_M]
    return read_M, place_M, np.arange(len(place_M)) - np.searchsorted(place_M, place_M, "left")


def patch_targets(glyphs: Glyphs) -> np.ndarray:
    """For every 14 px patch of one 336 px view the character it shows a part of, or EMPTY: int64 [24, 24].

    A patch belongs to the legible character whose box, grown by a few pixels, its centre lies deepest in.
    """
    glyphs = glyphs.chosen(~glyphs.is_huge)
    near_N = (glyphs.boxes[:, 2:] > -8).all(1) & (glyphs.boxes[:, :2] < TILE_PX + 8).all(1)
    glyphs = glyphs.chosen(near_N & glyphs.is_legible & (glyphs.classes < NUM_CHARACTER_CLASSES))
    if not len(glyphs.classes):
        return np.zeros((PATCHES_PER_SIDE, PATCHES_PER_SIDE), np.int64)
    centres_P = ((np.arange(PATCHES_PER_SIDE) + 0.5) * TILE_PX / PATCHES_PER_SIDE).astype(np.float32)
    left, top, right, bottom = glyphs.boxes.T
    across_PN = np.abs(centres_P[:, None] - (left + right) / 2) / ((right - left) / 2 + 4)
    down_PN = np.abs(centres_P[:, None] - (top + bottom) / 2) / ((bottom - top) / 2 + 5)
    depth_PPN = np.maximum(down_PN[:, None], across_PN[None])
    return np.where(depth_PPN.min(-1) < 1, glyphs.classes[depth_PPN.argmin(-1)], EMPTY)


def map_glyphs(glyphs: Glyphs, plan: TilePlan) -> Glyphs:
    """Glyphs in the original image's pixels -> in those of all tiles together."""
    scale_x = plan.resized_px.width / plan.original_px.width
    scale_y = plan.resized_px.height / plan.original_px.height
    return glyphs.placed(scale_x, scale_y, plan.padding_px.left, plan.padding_px.top)


def view_glyphs(glyphs: Glyphs, plan: TilePlan) -> list[Glyphs]:
    """Glyphs in the original image's pixels -> in the pixels of each view of ``plan``, global view first."""
    padded = map_glyphs(glyphs, plan)
    corners = [divmod(tile, plan.grid.cols) for tile in range(plan.num_tiles)]
    tiles = [padded.placed(1, 1, -col * TILE_PX, -row * TILE_PX) for row, col in corners]
    return [padded.placed(TILE_PX / plan.padded_px.width, TILE_PX / plan.padded_px.height), *tiles]


def view_targets(glyphs: Glyphs, plan: TilePlan, num_slots: int) -> np.ndarray:
    """Targets of all views of an image cut by ``plan``, global first: int64 [views, 12, 12, num_slots].

    ``glyphs`` are in the original image's pixels.
    """
    side = TOKENS_PER_SIDE
    return np.stack([cell_targets(each, num_slots, side, side) for each in view_glyphs(glyphs, plan)])
