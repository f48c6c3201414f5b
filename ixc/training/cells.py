"""Which characters stand in which visual token's cell: the targets of the auxiliary loss.

A visual token looks at 28x28 pixels of its view. Its target is the characters whose boxes' centres lie there, in reading
order, in K slots.
"""

from __future__ import annotations

import numpy as np

from ixc.tiling import TILE_PX, TOKENS_PER_SIDE, TilePlan
from ixc.training.wording import CHARACTERS

EMPTY = 0
"""Class of a slot that holds no character; character classes follow from 1."""
PATCHES_PER_SIDE = 2 * TOKENS_PER_SIDE
IGNORED = -100
"""Every slot of a cell with more characters than slots: no target."""
NUM_CLASSES = len(CHARACTERS) + 1
CELL_PX = TILE_PX / TOKENS_PER_SIDE
_CLASS_OF = {char: index + 1 for index, char in enumerate(CHARACTERS)}


def classes_of(text: str) -> np.ndarray:
    """Character classes, int64 [len(text)]. Raises KeyError for a character outside ``CHARACTERS``."""
    return np.array([_CLASS_OF[char] for char in text], np.int64)


def cell_targets(text: str, boxes_N4: np.ndarray, num_slots: int, rows: int, cols: int) -> np.ndarray:
    """Targets of a map of ``rows`` x ``cols`` cells of 28 px: int64 [rows, cols, num_slots].

    ``boxes_N4`` are the boxes of ``text`` in reading order, in the map's pixels; characters outside are left out.
    """
    targets = np.zeros((rows, cols, num_slots), np.int64)
    if not text:
        return targets
    col = np.floor((boxes_N4[:, 0] + boxes_N4[:, 2]) / 2 / CELL_PX).astype(int)
    row = np.floor((boxes_N4[:, 1] + boxes_N4[:, 3]) / 2 / CELL_PX).astype(int)
    used = np.zeros((rows, cols), int)
    for index in np.flatnonzero((col >= 0) & (col < cols) & (row >= 0) & (row < rows)):
        place = row[index], col[index]
        if used[place] < num_slots:
            targets[(*place, used[place])] = _CLASS_OF[text[index]]
        used[place] += 1
    targets[used > num_slots] = IGNORED
    return targets


def patch_targets(text: str, boxes_N4: np.ndarray) -> np.ndarray:
    """For every 14 px patch of one 336 px view the character it shows a part of, or EMPTY: int64 [24, 24].

    A patch belongs to the character whose box, grown by a few pixels, its centre lies deepest in.
    """
    if not text:
        return np.zeros((PATCHES_PER_SIDE, PATCHES_PER_SIDE), np.int64)
    centres_P = (np.arange(PATCHES_PER_SIDE) + 0.5) * TILE_PX / PATCHES_PER_SIDE
    left, top, right, bottom = boxes_N4.T
    across_PN = np.abs(centres_P[:, None] - (left + right) / 2) / ((right - left) / 2 + 4)
    down_PN = np.abs(centres_P[:, None] - (top + bottom) / 2) / ((bottom - top) / 2 + 5)
    depth_PPN = np.maximum(down_PN[:, None], across_PN[None])
    return np.where(depth_PPN.min(-1) < 1, classes_of(text)[depth_PPN.argmin(-1)], EMPTY)


def view_boxes(boxes_N4: np.ndarray, plan: TilePlan) -> list[np.ndarray]:
    """Boxes in the original image's pixels -> in the pixels of each view of ``plan``, global view first."""
    scale_x = plan.resized_px.width / plan.original_px.width
    scale_y = plan.resized_px.height / plan.original_px.height
    padded_N4 = boxes_N4 * np.array([scale_x, scale_y] * 2, np.float32)
    padded_N4 = padded_N4 + np.array([plan.padding_px.left, plan.padding_px.top] * 2, np.float32)
    squash = np.array([TILE_PX / plan.padded_px.width, TILE_PX / plan.padded_px.height] * 2, np.float32)
    corners = [divmod(tile, plan.grid.cols) for tile in range(plan.num_tiles)]
    tiles = [padded_N4 - np.array([col * TILE_PX, row * TILE_PX] * 2, np.float32) for row, col in corners]
    return [padded_N4 * squash, *tiles]


def view_targets(text: str, boxes_N4: np.ndarray, plan: TilePlan, num_slots: int) -> np.ndarray:
    """Targets of all views of an image cut by ``plan``, global first: int64 [views, 12, 12, num_slots].

    ``boxes_N4`` are in the original image's pixels.
    """
    side = TOKENS_PER_SIDE
    return np.stack([cell_targets(text, boxes, num_slots, side, side) for boxes in view_boxes(boxes_N4, plan)])
