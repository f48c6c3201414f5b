"""How an image is cut into tiles: one pure function, one frozen value that the whole program shares.

Source: arXiv 2404.06512, section 3.2 (dynamic image partition, global-local format, newline token). Where the paper and
the released code differ the code decides, because the checkpoints were trained with it; such places say so.

Standard library only. Orders are always (height, width) and (rows, cols).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

TILE_PX = 336
"""Side of one tile and of the global view, in pixels."""
TOKENS_PER_SIDE = 12
"""Visual tokens per side of one view: 24 ViT patches of 14 px, merged 2x2."""
NUM_GLOBAL_TOKENS = TOKENS_PER_SIDE * (TOKENS_PER_SIDE + 1)
"""Tokens of the global view: 12 rows of 12, each ended by a newline token."""
NAMED_BUDGETS = (1, 9, 16, 25, 55)
"""The budgets the paper names HD-9, HD-16, HD-25 and HD-55; 1 is a single tile."""
MAX_SLIDER_PATCHES = 64
KEPT_SIZE_FACTOR = 1.005
"""An image that is resized by less than this, either way, keeps its size as far as anybody could see: told as 1.00."""


@dataclass(frozen=True, slots=True, order=True)
class SizePx:
    """A size in pixels, height first. Raises ValueError unless both sides are whole numbers of at least 1."""

    height: int
    width: int

    def __post_init__(self) -> None:
        if type(self.height) is not int or type(self.width) is not int:  # a thousand plans are made while the slider moves
            for side in ("height", "width"):
                object.__setattr__(self, side, whole_number(getattr(self, side), f"the {side} in pixels"))
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a size needs at least one pixel a side, not {self.height}x{self.width} (height x width)")


@dataclass(frozen=True, slots=True)
class Grid:
    """Tile rows and columns."""

    rows: int
    cols: int


@dataclass(frozen=True, slots=True)
class PaddingPx:
    """White pixels added on each side after resizing."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class RectPx:
    """A rectangle, right and bottom exclusive; in the original image's pixels unless said otherwise."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def is_empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top


class Scaling(StrEnum):
    """What resizing does to an image."""

    SHRUNK = "shrunk"
    KEPT = "kept"
    ENLARGED = "enlarged"


class TokenKind(StrEnum):
    """What stands at one place of an image's visual tokens."""

    GLOBAL = "global"
    LOCAL = "local"
    NEWLINE = "newline"
    SEPARATOR = "separator"


@dataclass(frozen=True, slots=True)
class VisualToken:
    """One visual token: its kind, and its row and column in its view's token map (None for the separator).

    A newline token has the column just past its row's last map token.
    """

    index: int
    kind: TokenKind
    row: int | None
    col: int | None
    is_local: bool


@dataclass(frozen=True, slots=True)
class TilePlan:
    """How one image is resized, padded, cut and laid out as visual tokens.

    Token indices count from the image's first visual token: the global view (12 rows of 12 + newline), the separator, then
    the local map (12*rows rows of 12*cols + newline).
    """

    original_px: SizePx
    max_patches: int
    resized_px: SizePx
    padding_px: PaddingPx
    grid: Grid
    is_clamped: bool
    """The reference crashes here: the resized image would have a side of zero pixels; one pixel is planned instead."""

    @property
    def num_tiles(self) -> int:
        return self.grid.rows * self.grid.cols

    @property
    def num_views(self) -> int:
        """Passes through the vision tower: the global view and every tile."""
        return self.num_tiles + 1

    @property
    def padded_px(self) -> SizePx:
        return SizePx(self.grid.rows * TILE_PX, self.grid.cols * TILE_PX)

    @property
    def num_visual_tokens(self) -> int:
        return num_visual_tokens(self.grid)

    @property
    def num_local_rows(self) -> int:
        """Token rows of the local map."""
        return TOKENS_PER_SIDE * self.grid.rows

    @property
    def local_row_tokens(self) -> int:
        """Tokens of one row of the local map, its newline included."""
        return TOKENS_PER_SIDE * self.grid.cols + 1

    @property
    def separator_index(self) -> int:
        return NUM_GLOBAL_TOKENS

    @property
    def local_start(self) -> int:
        return NUM_GLOBAL_TOKENS + 1

    @property
    def scale_factor(self) -> float:
        """Resized pixels per original pixel along the longer side; above 1 the image is enlarged and gains no detail."""
        if self.original_px.width < self.original_px.height:
            return self.resized_px.height / self.original_px.height
        return self.resized_px.width / self.original_px.width

    @property
    def padding_share(self) -> float:
        """Share of the padded image that is padding, 0 to 1."""
        padded, resized = self.padded_px, self.resized_px
        return 1 - resized.height * resized.width / (padded.height * padded.width)

    # --- visual token -> place ------------------------------------------------------------------------------------

    def newline_indices(self) -> Iterator[int]:
        """Indices of all newline tokens, in order."""
        yield from range(TOKENS_PER_SIDE, NUM_GLOBAL_TOKENS, TOKENS_PER_SIDE + 1)
        yield from range(self.local_start + self.local_row_tokens - 1, self.num_visual_tokens, self.local_row_tokens)

    def token(self, index: int) -> VisualToken:
        """The token at ``index``. Raises IndexError outside 0 .. num_visual_tokens - 1."""
        if not 0 <= index < self.num_visual_tokens:
            raise IndexError(f"visual token {index} is outside 0 to {self.num_visual_tokens - 1}")
        if index == self.separator_index:
            return VisualToken(index, TokenKind.SEPARATOR, None, None, is_local=False)
        is_local = index > self.separator_index
        row_tokens = self.local_row_tokens if is_local else TOKENS_PER_SIDE + 1
        row, col = divmod(index - (self.local_start if is_local else 0), row_tokens)
        if col == row_tokens - 1:
            kind = TokenKind.NEWLINE
        else:
            kind = TokenKind.LOCAL if is_local else TokenKind.GLOBAL
        return VisualToken(index, kind, row, col, is_local)

    def token_rect(self, index: int) -> RectPx | None:
        """The original image's rectangle that token ``index`` looks at.

        None for newlines and the separator; an empty rectangle for a token that sees padding only. Raises IndexError.
        """
        token = self.token(index)
        if token.kind is TokenKind.GLOBAL:
            step_y, step_x = self.padded_px.height / TOKENS_PER_SIDE, self.padded_px.width / TOKENS_PER_SIDE
        elif token.kind is TokenKind.LOCAL:
            step_y = step_x = TILE_PX / TOKENS_PER_SIDE
        else:
            return None
        return self._to_original(
            RectPx(token.col * step_x, token.row * step_y, (token.col + 1) * step_x, (token.row + 1) * step_y)
        )

    # --- place -> visual tokens -----------------------------------------------------------------------------------

    def tokens_in_rect(self, rect: RectPx, *, local: bool = True) -> tuple[range, ...]:
        """Index ranges, one per token row, of the tokens whose cells overlap ``rect`` (original pixels).

        ``local`` chooses the tiles' map or the global view. Newlines are never included.
        """
        padded = self._to_padded(rect)
        cols, rows = TOKENS_PER_SIDE, TOKENS_PER_SIDE
        if local:
            cols, rows = cols * self.grid.cols, rows * self.grid.rows
        step_x, step_y = self.padded_px.width / cols, self.padded_px.height / rows
        first_col, last_col = _cells_touched(padded.left, padded.right, step_x, cols)
        first_row, last_row = _cells_touched(padded.top, padded.bottom, step_y, rows)
        if padded.is_empty or first_col > last_col:
            return ()
        start = self.local_start if local else 0
        return tuple(
            range(start + row * (cols + 1) + first_col, start + row * (cols + 1) + last_col + 1)
            for row in range(first_row, last_row + 1)
        )

    def tile_rect(self, tile: int) -> RectPx:
        """The part of the original image in tile ``tile`` (row-major, from 0); may be empty. Raises IndexError."""
        row, col = self._tile_place(tile)
        return self._to_original(RectPx(col * TILE_PX, row * TILE_PX, (col + 1) * TILE_PX, (row + 1) * TILE_PX))

    def tile_token_ranges(self, tile: int) -> tuple[range, ...]:
        """Index ranges of one tile's 144 tokens: 12 rows of 12. Raises IndexError."""
        row, col = self._tile_place(tile)
        first = self.local_start + row * TOKENS_PER_SIDE * self.local_row_tokens + col * TOKENS_PER_SIDE
        return square_token_ranges(first, TOKENS_PER_SIDE, self.local_row_tokens)

    def _tile_place(self, tile: int) -> tuple[int, int]:
        if not 0 <= tile < self.num_tiles:
            raise IndexError(f"tile {tile} is outside 0 to {self.num_tiles - 1}")
        return divmod(tile, self.grid.cols)

    def _to_original(self, rect: RectPx) -> RectPx:
        """Padded pixels to original pixels, clipped to the image."""
        size, pad, resized = self.original_px, self.padding_px, self.resized_px
        return RectPx(
            left=min(max((rect.left - pad.left) * size.width / resized.width, 0.0), size.width),
            top=min(max((rect.top - pad.top) * size.height / resized.height, 0.0), size.height),
            right=min(max((rect.right - pad.left) * size.width / resized.width, 0.0), size.width),
            bottom=min(max((rect.bottom - pad.top) * size.height / resized.height, 0.0), size.height),
        )

    def _to_padded(self, rect: RectPx) -> RectPx:
        # Multiplied first and divided then, the image's own edge comes out exact, and takes no token of the padding.
        size, pad, resized = self.original_px, self.padding_px, self.resized_px
        return RectPx(
            left=min(max(rect.left, 0), size.width) * resized.width / size.width + pad.left,
            top=min(max(rect.top, 0), size.height) * resized.height / size.height + pad.top,
            right=min(max(rect.right, 0), size.width) * resized.width / size.width + pad.left,
            bottom=min(max(rect.bottom, 0), size.height) * resized.height / size.height + pad.top,
        )


def plan_tiles(original_px: SizePx, max_patches: int) -> TilePlan:
    """Cut an image under a budget of ``max_patches`` tiles.

    The longer side gets as many tiles as the budget allows, the aspect ratio is kept, and the shorter side is padded to whole
    tiles. Small images are always enlarged to fill the budget (released code; the paper does not say so). Raises ValueError
    for a budget that is no whole number or is below 1.
    """
    max_patches = whole_number(max_patches, "max_patches")
    if max_patches < 1:
        raise ValueError(f"max_patches must be at least 1, not {max_patches}")
    # The reference transposes a portrait image, plans it as a landscape one, and transposes back.
    is_portrait = original_px.width < original_px.height
    long_px, short_px = max(original_px.height, original_px.width), min(original_px.height, original_px.width)
    ratio = long_px / short_px
    long_tiles = _long_side_tiles(ratio, max_patches)
    resized_long = TILE_PX * long_tiles
    # Quirk: truncated, not rounded, so that the rows can be one less than ceil(long_tiles / ratio).
    resized_short = int(resized_long / ratio)
    is_clamped = resized_short < 1
    resized_short = max(resized_short, 1)
    short_tiles = -(-resized_short // TILE_PX)
    spare = short_tiles * TILE_PX - resized_short
    before, after = spare // 2, spare - spare // 2
    if is_portrait:
        resized, grid = SizePx(resized_long, resized_short), Grid(rows=long_tiles, cols=short_tiles)
        padding = PaddingPx(left=before, top=0, right=after, bottom=0)
    else:
        resized, grid = SizePx(resized_short, resized_long), Grid(rows=short_tiles, cols=long_tiles)
        padding = PaddingPx(left=0, top=before, right=0, bottom=after)
    return TilePlan(original_px, max_patches, resized, padding, grid, is_clamped)


def num_visual_tokens(grid: Grid) -> int:
    """Tokens one image adds to the prompt.

    144*(rows*cols + 1) + 12*(rows + 1) + 1: a 12x12 map per tile and for the global view, one newline per token row, one
    separator. Source: arXiv 2404.06512, section 3.2.
    """
    per_view = TOKENS_PER_SIDE * TOKENS_PER_SIDE
    return per_view * (grid.rows * grid.cols + 1) + TOKENS_PER_SIDE * (grid.rows + 1) + 1


def square_token_ranges(first: int, side_tokens: int, row_tokens: int) -> tuple[range, ...]:
    """Index ranges of a square's tokens in a map with ``row_tokens`` a row, one per token row, from token ``first`` on."""
    starts = range(first, first + side_tokens * row_tokens, row_tokens)
    return tuple(range(start, start + side_tokens) for start in starts)


def whole_number(value: object, name: str) -> int:
    """``value`` as Python's own int, also one of numpy's. Raises ValueError for anything else, True and 9.0 included."""
    if isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, not {value}")
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {value!r}") from None


def scaling(scale_factor: float) -> Scaling:
    """Of resized pixels per original pixel: the one tolerance that every sentence about a plan shares."""
    if max(scale_factor, 1 / scale_factor) < KEPT_SIZE_FACTOR:
        return Scaling.KEPT
    return Scaling.SHRUNK if scale_factor < 1 else Scaling.ENLARGED


def suggest_max_patches(original_px: SizePx, limit: int = MAX_SLIDER_PATCHES) -> int:
    """The smallest budget, at most ``limit``, at which the image is not shrunk; where all shrink it, the smallest that cuts

    as ``limit`` does.

    Raises ValueError for a limit that is no whole number or is below 1.
    """
    limit = whole_number(limit, "the limit")
    if limit < 1:
        raise ValueError(f"the limit must be at least 1, not {limit}")
    grid = plan_tiles(original_px, limit).grid
    for max_patches in range(1, limit):
        if not is_shrunk_at(original_px, max_patches) or plan_tiles(original_px, max_patches).grid == grid:
            return max_patches
    return limit


def is_shrunk_at(original_px: SizePx, max_patches: int) -> bool:
    """Whether this budget shrinks the image. Raises ValueError for a budget below 1."""
    return scaling(plan_tiles(original_px, max_patches).scale_factor) is Scaling.SHRUNK


def _long_side_tiles(ratio: float, max_patches: int) -> int:
    """Largest s with s * ceil(s / ratio) <= max_patches, found as the reference finds it: up to the first that fails."""
    tiles = 1
    while (tiles + 1) * math.ceil((tiles + 1) / ratio) <= max_patches:
        tiles += 1
    return tiles


def _cells_touched(start: float, stop: float, step: float, num_cells: int) -> tuple[int, int]:
    """First and last cell of width ``step`` that [start, stop) overlaps."""
    first = min(max(math.floor(start / step), 0), num_cells - 1)
    last = min(max(math.ceil(stop / step) - 1, 0), num_cells - 1)
    return first, last
