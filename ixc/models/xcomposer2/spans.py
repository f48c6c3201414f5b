"""Where the visual tokens are, as plain integers: contiguous spans need no boolean gather and no device-to-host sync."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor


@dataclass(frozen=True, slots=True)
class VisualSpans:
    """Half-open spans (start, stop) of visual tokens in every row of a batch."""

    rows: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def from_mask(cls, im_mask_BS: Tensor) -> VisualSpans:
        """From the reference's mask (nonzero: visual). Costs one transfer to the host."""
        return cls(tuple(tuple(_runs(row)) for row in im_mask_BS.tolist()))

    @classmethod
    def of_row(cls, spans: Sequence[tuple[int, int]]) -> VisualSpans:
        """For a batch of one."""
        return cls((tuple(spans),))

    def __bool__(self) -> bool:
        return any(self.rows)

    @property
    def num_tokens(self) -> int:
        return sum(stop - start for row in self.rows for start, stop in row)

    def clip(self, start: int, stop: int) -> VisualSpans:
        """The part inside positions ``start`` to ``stop``, counted from ``start``: the spans of one prefill chunk."""
        return VisualSpans(
            tuple(
                tuple((max(a, start) - start, min(b, stop) - start) for a, b in row if a < stop and b > start)
                for row in self.rows
            )
        )

    def slices(self) -> Iterator[tuple[slice, slice]]:
        """(rows, positions) pairs that cover all visual tokens; one pair per span when all rows agree."""
        if len(set(self.rows)) == 1:
            for start, stop in self.rows[0]:
                yield slice(None), slice(start, stop)
            return
        for index, row in enumerate(self.rows):
            for start, stop in row:
                yield slice(index, index + 1), slice(start, stop)


def _runs(row: Sequence[int]) -> Iterator[tuple[int, int]]:
    position = 0
    for is_visual, group in groupby(row, key=bool):
        length = sum(1 for _ in group)
        if is_visual:
            yield position, position + length
        position += length
