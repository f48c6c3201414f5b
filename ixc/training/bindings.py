"""Which texts of a document belong together: a cell and its column's heading, a name and its value.

The language model is taught, while it trains, to find that out where the texts stand, before anybody asks: of two that belong
together, a head at the later one looks at the earlier. A model that had learned only from answers named the right row of every
table and chose the column at random: an answer says that it was wrong, not which of twenty cells belong to which heading. In
every document there are many such pairs, and few questions. Where an answer then goes on to a cell or value, a head of the next
layer looks at the heading or name once more: what is to be found is what belongs to that token. And before it names the highest
or lowest, that head looks where the value is known by then, of all the one to be named. Training only, as pointers.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from ixc.training.conversations import Paper
from ixc.training.pointers import NOWHERE, Places
from ixc.training.value_sense import NO_VALUE


@dataclass(frozen=True, slots=True)
class Binding:
    """Two characters of a document, by their indices: one of a text that belongs to a name or heading, and the middle of that.

    The middle, because every column's texts lie nearest to it, however they are aligned: of charts' values and tables' cells 99
    in 100 stand nearest to their own name's, of the cells' first characters 92 to their own heading's last one.

    ``first``: the first character of the text that belongs to it, and ``name``: that of the name. ``is_beside``: they stand on
    one line. ``value``: the number that it is, where numbers are compared.
    """

    glyph: int
    named_by: int
    first: int
    name: int
    is_beside: bool = False
    value: float = NO_VALUE


def bindings_of(paper: Paper) -> tuple[Binding, ...]:
    """Of every cell with its column's heading, every article with its price, and every name of a chart with its value.

    Cells and prices are told by their first character, where reading begins; values by their last, where the whole number
    has been seen.
    """
    lines = paper.document.lines
    starts = [0, *accumulate(len(line.text) for line in lines)]
    found: dict[int, Binding] = {}
    for asked in paper.asked:
        number = NO_VALUE
        match asked.question.task, asked.lines:
            case "table cell", (_, name, text):
                glyph = starts[text]
            case "chart value", (name, text):
                glyph, number = starts[text + 1] - 1, float(lines[text].text.rstrip("%"))
            case "field", (name, text):
                glyph = starts[text]
            case _:
                continue
        is_beside = lines[name].baseline_px == lines[text].baseline_px
        middle = starts[name] + len(lines[name].text) // 2
        found[glyph] = Binding(glyph, middle, starts[text], starts[name], is_beside, number)
    return tuple(found.values())


def bound_tokens(bindings: Sequence[Binding], places: Places) -> Iterator[tuple[int, int, float]]:
    """For every pair that stands in two visual tokens the later one, the earlier one, and the value told at the later."""
    for each in bindings:
        earlier, later = _in_order(each, places)
        if earlier != NOWHERE and earlier != later:
            yield later, earlier, each.value


def ways_to(bindings: Sequence[Binding], task: str, glyphs: Sequence[int]) -> list[int]:
    """For every token of an answer, which says the character ``glyphs`` names or none, the index of the pair that leads to it.

    To the first character of a text that was asked for and does not stand beside its name, and to that of the highest or
    lowest's name; else, and wherever the line just said goes on, NOWHERE. In a row that is read the next cell is near.
    """
    if task == "table row":
        return [NOWHERE] * len(glyphs)
    ways = {each.first: index for index, each in enumerate(bindings) if not each.is_beside}
    if task == "chart extreme":
        ways |= {each.name: index for index, each in enumerate(bindings)}
    return [ways.get(glyph, NOWHERE) for glyph in glyphs]


def naming_tokens(bindings: Sequence[Binding], places: Places, glyphs: Sequence[int], ways: Sequence[int]) -> np.ndarray:
    """For every token of the answers the visual token to look at on the way to what it says, by the pair that leads there.

    To a text by its heading or name; to a name by where its value is known, the later of the two. Else NOWHERE. int64, as many
    as ``glyphs``.
    """
    found = np.full(len(glyphs), NOWHERE)
    for index, (glyph, way) in enumerate(zip(glyphs, ways, strict=True)):
        if way != NOWHERE:
            each = bindings[way]
            found[index] = places.tokens[each.named_by] if glyph == each.first else _in_order(each, places)[1]
    return found


def _in_order(binding: Binding, places: Places) -> tuple[int, int]:
    """The visual tokens that show both of its characters, the earlier one first."""
    earlier, later = sorted(int(places.tokens[glyph]) for glyph in (binding.glyph, binding.named_by))
    return earlier, later
