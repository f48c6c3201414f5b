"""Which texts of a document belong together: a cell and its column's heading, a name and its value.

The language model is taught, while it trains, to find that out where the texts stand, before anybody asks: of two that belong
together, a head at the later one looks at the earlier. A model that had learned only from answers named the right row of every
table and chose the column at random: an answer says that it was wrong, not which of twenty cells belong to which heading. In
every document there are many such pairs, and few questions. Where an answer then goes on to a cell or value, a head of the next
layer looks at the heading or name once more: what is to be found is what belongs to that token. Training only, as pointers.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ixc.training.conversations import Paper
from ixc.training.pointers import NOWHERE, Places
from ixc.training.value_sense import NO_VALUE


@dataclass(frozen=True, slots=True)
class Binding:
    """Two characters of a document, by their indices: one of a text that belongs to a name or heading, and the last of that.

    ``first``: the first character of the text that belongs to it. ``value``: the number that it is, where numbers are compared.
    """

    glyph: int
    named_by: int
    first: int
    value: float = NO_VALUE


def bindings_of(paper: Paper) -> tuple[Binding, ...]:
    """Of every cell with its column's heading, every article with its price, and every name of a chart with its value.

    Cells and prices are told by their first character, where reading begins; values by their last, where the whole number
    has been seen.
    """
    lines = paper.document.lines
    starts = np.cumsum([0, *(len(line.text) for line in lines)])
    found: dict[int, Binding] = {}
    for asked in paper.asked:
        match asked.question.task, asked.lines:
            case "table cell", (_, heading, cell):
                each = Binding(int(starts[cell]), int(starts[heading + 1]) - 1, int(starts[cell]))
            case "chart value", (name, value):
                number = float(lines[value].text.rstrip("%"))
                each = Binding(int(starts[value + 1]) - 1, int(starts[name + 1]) - 1, int(starts[value]), number)
            case "field", (name, price):
                each = Binding(int(starts[price]), int(starts[name + 1]) - 1, int(starts[price]))
            case _:
                continue
        found[each.glyph] = each
    return tuple(found.values())


def bound_tokens(bindings: Sequence[Binding], places: Places) -> Iterator[tuple[int, int, float]]:
    """For every pair that stands in two visual tokens the later one, the earlier one, and the value told at the later."""
    for each in bindings:
        earlier, later = sorted((int(places.tokens[each.glyph]), int(places.tokens[each.named_by])))
        if earlier != NOWHERE and earlier != later:
            yield later, earlier, each.value


def naming_tokens(bindings: Sequence[Binding], places: Places, glyphs: Sequence[int]) -> np.ndarray:
    """For every token of the answers, which says the character ``glyphs`` names or none, the visual token that shows the end of

    the heading or name it belongs to, where it is the first of its text; else NOWHERE. int64, as many as ``glyphs``.
    """
    of_first = {each.first: int(places.tokens[each.named_by]) for each in bindings}
    return np.array([of_first.get(glyph, NOWHERE) for glyph in glyphs], np.int64)
