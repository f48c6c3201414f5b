"""What documents of each kind hold, and the questions their contents answer; nothing is drawn yet.

Receipts, invoices, forms, labels and tickets are labelled fields, receipts and invoices with a list of articles above them;
tables and charts are names and numbers; notices are a few lines of text.

An answer repeats the label or the name as printed, then gives what stands with it ("Total: $12.40"): the model finds its place
by reading on from what it has just said, which it learns much sooner than jumping to a bare value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ixc.training import asking, fields, wording
from ixc.training.fields import FIELDS
from ixc.training.sheets import Align, Item, Sheet
from ixc.training.wording import Split, split_of

CHARTS = ("bar chart", "line chart", "pie chart")
_TABLE_ALIGNS = (
    (Align.RIGHT, Align.RIGHT),
    (Align.RIGHT, Align.RIGHT),
    (Align.LEFT, Align.RIGHT),
    (Align.LEFT, Align.LEFT),
    (Align.CENTRE, Align.RIGHT),
    (Align.CENTRE, Align.LEFT),
    (Align.CENTRE, Align.CENTRE),
)
"""How a table's headings and its cells stand in their columns: as in print, twice as often; in spreadsheets, which put texts to
the left and numbers to the right; and in web pages."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its task, how it is asked first and later on, its answer, and the keys of the texts needed for it."""

    task: str
    phrasings: tuple[str, ...]
    answer: str
    needs: tuple[str, ...]
    next_phrasings: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)

    def in_words(self, rng: np.random.Generator, *, is_first: bool) -> str:
        """The question as somebody may put it, at first or later in a conversation."""
        phrasings = self.phrasings if is_first or not self.next_phrasings else self.next_phrasings
        return asking.ask(rng, phrasings, self.names)


@dataclass(slots=True)
class Record:
    """A document's rows and what can be asked about it. ``values`` are a chart's, in the order of its names."""

    kind: str
    sheet: Sheet
    questions: list[Question]
    values: tuple[float, ...] = ()


def draw_fields(rng: np.random.Generator, split: Split, kind: str) -> Record:
    """A receipt, invoice, form, label or ticket."""
    pool = {"receipt": fields.RECEIPT, "invoice": fields.INVOICE, "form": fields.FORM, "label": fields.LABEL}.get(
        kind, fields.TICKET
    )
    num = int(rng.integers(1, 5)) if kind in ("label", "ticket", "receipt") else int(rng.integers(2, 6))
    chosen = [FIELDS[name] for name in rng.permutation(pool)[:num]]
    record = Record(kind, Sheet(), [])
    if kind in ("receipt", "invoice", "form") or rng.random() < 0.5:
        _heading(rng, record, split)
    if kind in ("receipt", "invoice") and rng.random() < 0.6:
        _articles(rng, record)
    colon, align = str(rng.choice((":", ":", ""))), Align.RIGHT if rng.random() < 0.4 else Align.LEFT
    is_one_text = rng.random() < 0.3
    for each in chosen:
        value, printed = each.value(rng, split), each.printed[rng.integers(len(each.printed))]
        if is_one_text:
            record.sheet.add(Item(f"{printed}{colon} {value}", key=each.name))
        else:
            record.sheet.add(Item(f"{printed}{colon}", 0), Item(value, 1, each.name, align))
        for asked in sorted({each.asked[0], each.asked[rng.integers(len(each.asked))]}):
            record.questions.append(_about(each.name, asked, f"{printed}{colon} {value}"))
    absent = [FIELDS[name] for name in rng.permutation(sorted(FIELDS)) if FIELDS[name] not in chosen][:1]
    for each in absent:
        everything = tuple(other.name for other in chosen)
        record.questions.append(_about("", each.asked[rng.integers(len(each.asked))], asking.NOT_THERE, everything))
    return record


def draw_table(rng: np.random.Generator, split: Split) -> Record:
    """Names down, columns across, numbers in the cells. In the evaluation's tables all columns are flush right."""
    record = Record("table", Sheet(), [])
    if rng.random() < 0.5:
        _heading(rng, record, split)
    num_rows, num_cols = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    rows, cols = _names(rng, num_rows), _columns(rng, num_cols)
    head_align, cell_align = Align.RIGHT, Align.RIGHT
    if split is Split.TRAINING:
        head_align, cell_align = _TABLE_ALIGNS[rng.integers(len(_TABLE_ALIGNS))]
    corner = str(rng.choice(("", "Name", "Item", "City", "Team")))
    headings = [Item(name, 1 + i, f"col {name}", head_align) for i, name in enumerate(cols)]
    record.sheet.add(*([Item(corner, 0)] if corner else []), *headings)
    draw = fields.money if rng.random() < 0.3 else _small_number
    for row in rows:
        values = [draw(rng) for _ in cols]
        cells = [Item(v, 1 + i, f"{row}/{c}", cell_align) for i, (c, v) in enumerate(zip(cols, values, strict=True))]
        record.sheet.add(Item(row, 0, f"row {row}"), *cells)
        for col, value in zip(cols, values, strict=True):
            needs = (f"row {row}", f"col {col}", f"{row}/{col}")
            names = {"row": row, "col": col}
            record.questions.append(
                Question("table cell", asking.CELL, f"{row}, {col}: {value}", needs, asking.CELL_NEXT, names)
            )
        if rng.random() < 0.3:
            needs = (f"row {row}", *(f"{row}/{c}" for c in cols))
            record.questions.append(Question("table row", asking.ROW, " ".join((row, *values)), needs, names={"name": row}))
    _absent_name(rng, record, rows, asking.CELL, col=cols[0])
    _kind(record, (f"col {cols[0]}",))
    return record


def draw_chart(rng: np.random.Generator, split: Split, kind: str) -> Record:
    """One of ``CHARTS``, with its values printed; those of a pie chart are percentages."""
    record = Record(kind, Sheet(), [])
    _heading(rng, record, split, share=0.8)
    names = _names(rng, int(rng.integers(2, 6)))
    if kind == "pie chart":
        values: list[float] = _percentages(rng, len(names))
        texts = [f"{value:g}%" for value in values]
    else:
        values = [round(float(rng.uniform(3, 100)), int(rng.random() < 0.2)) for _ in names]
        texts = [f"{value:g}" for value in values]
    record.values = tuple(values)
    for name, text in zip(names, texts, strict=True):
        record.sheet.add(Item(name, 0, f"row {name}"), Item(text, 1, name))
        needs = (f"row {name}", name)
        record.questions.append(
            Question("chart value", asking.CHART, f"{name} {text}", needs, asking.CHART_NEXT, {"name": name})
        )
    everything = (*names, *(f"row {name}" for name in names))
    for phrasings, own, pick in ((asking.HIGHEST, asking.HIGHEST_IN, max), (asking.LOWEST, asking.LOWEST_IN, min)):
        if values.count(pick(values)) == 1:
            index = values.index(pick(values))
            answer = f"{names[index]} {texts[index]}"
            record.questions.append(Question("chart extreme", (*phrasings, own[kind]), answer, everything))
    _absent_name(rng, record, names, asking.CHART)
    _kind(record, (names[0],))
    return record


def _percentages(rng: np.random.Generator, num: int) -> list[float]:
    """Whole numbers that add up to 100; none so small that its slice's label would have no room."""
    least = 12
    shares = rng.dirichlet(np.ones(num)) * (100 - least * num)
    ends = np.round(np.cumsum(shares)).astype(int)
    return [float(least + each) for each in np.diff(ends, prepend=0)]


def draw_notice(rng: np.random.Generator, split: Split) -> Record:
    """Two to five short lines, asked for as a whole."""
    record = Record("notice", Sheet(), [])
    align, num_lines = Align.CENTRE if rng.random() < 0.5 else Align.LEFT, int(rng.integers(2, 5))
    texts = [wording.random_text(rng, split, 20) for _ in range(num_lines)]
    for index, text in enumerate(texts):
        record.sheet.add(Item(text, key=str(index), align=align, is_heading=index == 0 and rng.random() < 0.4))
    keys = tuple(str(index) for index in range(num_lines))
    record.questions.append(Question("paragraph", asking.READ, " ".join(texts), keys))
    record.questions.append(Question("title", ("Read the first line.", "What is in the first line?"), texts[0], ("0",)))
    record.questions.append(Question("title", ("Read the last line.", "What is in the last line?"), texts[-1], keys[-1:]))
    _kind(record, keys[:1])
    return record


_TITLES = {
    "receipt": ("RECEIPT", "Receipt", "SALES RECEIPT", "Cash receipt"),
    "invoice": ("INVOICE", "Invoice", "TAX INVOICE", "Bill"),
    "form": ("FORM", "Registration", "APPLICATION", "Registration form", "Application form"),
    "label": ("PRODUCT", "Label", "SPECIFICATION"),
    "ticket": ("TICKET", "Boarding pass", "BOOKING", "Ticket"),
}
KIND_NAMES = {
    "receipt": "a receipt",
    "invoice": "an invoice",
    "form": "a form",
    "label": "a label",
    "ticket": "a ticket",
    "table": "a table",
    "bar chart": "a bar chart",
    "line chart": "a line chart",
    "pie chart": "a pie chart",
    "notice": "a sign with text",
    "sign": "a sign with text",
    "shapes": "a drawing of shapes",
}


def _heading(rng: np.random.Generator, record: Record, split: Split, share: float = 1.0) -> None:
    """A company's or a document's name on top, or both."""
    titles = _TITLES.get(record.kind)
    name = _company(rng, split)
    align = Align.CENTRE if rng.random() < 0.4 else Align.LEFT
    if titles:
        title = titles[rng.integers(len(titles))]
        if rng.random() < 0.7:
            record.sheet.add(Item(name, key="company", is_heading=True, align=align))
            record.questions.append(Question("title", asking.SELLER, name, ("company",)))
        record.sheet.add(Item(title, key="title", is_heading=rng.random() < 0.5, align=align))
        _kind(record, ("title",))
    elif rng.random() < share:
        record.sheet.add(Item(name, key="title", is_heading=True, align=align))
        record.questions.append(Question("title", asking.TITLE, name, ("title",)))
    if rng.random() < 0.4:
        record.sheet.gap()


def _articles(rng: np.random.Generator, record: Record) -> None:
    currency = str(rng.choice(("", "", "$", "€", "£")))
    for name in _names(rng, int(rng.integers(1, 4))):
        price = fields.money(rng, currency)
        record.sheet.add(Item(name, 0, f"row {name}"), Item(price, 1, name, Align.RIGHT))
        needs = (f"row {name}", name)
        names = {"name": name}
        record.questions.append(Question("field", asking.ITEM_PRICE, f"{name} {price}", needs, asking.ITEM_PRICE_NEXT, names))
    if rng.random() < 0.4:
        record.sheet.gap()


def _about(name: str, asked: str, answer: str, needs: tuple[str, ...] = ()) -> Question:
    task = "field" if name else "absent"
    return Question(task, asking.FIELD, answer, needs or (name,), asking.FIELD_NEXT, {"name": asked})


def _absent_name(
    rng: np.random.Generator, record: Record, present: Sequence[str], phrasings: tuple[str, ...], **more: str
) -> None:
    name = _names(rng, 1, frozenset(present))[0]
    needs = tuple(f"row {each}" for each in present)
    record.questions.append(Question("absent", phrasings, asking.NOT_THERE, needs, (), {"name": name, "row": name, **more}))


def _kind(record: Record, needs: tuple[str, ...]) -> None:
    record.questions.append(Question("kind", asking.KIND, f"This is {KIND_NAMES[record.kind]}.", needs))


def _names(rng: np.random.Generator, num: int, taken: frozenset[str] = frozenset()) -> list[str]:
    """Different names of one sort: articles, cities, people, months or days. Training and evaluation share them."""
    sort = int(rng.integers(6))
    if sort == 5:
        pool = list(wording.MONTHS if rng.random() < 0.6 else wording.DAYS)
        pool = [each for each in pool if each not in taken]
        start = int(rng.integers(max(1, len(pool) - num)))
        if len(pool) >= num:
            return pool[start : start + num]
        sort = 2
    pool = (wording.WORDS, wording.WORDS, wording.CITIES, wording.FIRST_NAMES, wording.LAST_NAMES)[sort]
    found: list[str] = []
    while len(found) < num:
        name = wording.pick(rng, pool)
        name = name if sort > 1 else name.capitalize()
        if sort == 1 and rng.random() < 0.5:
            name = f"{name} {wording.pick(rng, wording.WORDS).lower()}"
        if len(name) > 2 and name not in taken and all(name not in other and other not in name for other in found):
            found.append(name)
    return found


def _columns(rng: np.random.Generator, num: int) -> list[str]:
    sort = int(rng.integers(5))
    if sort == 0:
        return [f"Q{1 + index}" for index in range(num)]
    if sort == 1:
        first = int(rng.integers(1990, 2030))
        return [str(first + index) for index in range(num)]
    if sort == 2:
        pool = wording.MONTHS if rng.random() < 0.5 else wording.DAYS
        start = int(rng.integers(len(pool) - num))
        return list(pool[start : start + num])
    pool = ("Price", "Size", "Stock", "Sold", "Cost", "Weight", "Points", "Wins", "Age", "Units", "Rank", "Score", "Qty", "Tax")
    return [str(each) for each in rng.permutation(pool)[:num]]


def _small_number(rng: np.random.Generator) -> str:
    return str(rng.integers(0, 10 ** int(rng.integers(1, 5))))


def _company(rng: np.random.Generator, split: Split) -> str:
    while True:
        first = wording.pick(rng, wording.LAST_NAMES if rng.random() < 0.5 else wording.WORDS).capitalize()
        second = str(rng.choice(("Ltd", "Inc", "Shop", "Market", "Cafe", "Store", "Group", "& Co", "Bakery", "Hotel", "Foods")))
        name = f"{first} {second}"
        name = name.upper() if rng.random() < 0.25 else name
        if split_of(name) is split:
            return name
