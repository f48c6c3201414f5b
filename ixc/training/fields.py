"""Labelled fields: how they are printed, how people call them, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ixc.training import wording
from ixc.training.wording import Split, split_of

Draw = Callable[[np.random.Generator], str]


def money(rng: np.random.Generator, currency: str = "") -> str:
    """An amount with two decimals, mostly small."""
    whole = int(rng.integers(0, 100)) if rng.random() < 0.7 else int(rng.integers(100, 10_000))
    return f"{currency}{whole}.{rng.integers(100):02d}"


def priced(rng: np.random.Generator) -> str:
    return money(rng, str(rng.choice(("$", "$", "€", "£", ""))))


def _number(rng: np.random.Generator) -> str:
    return str(rng.integers(1, 10 ** int(rng.integers(1, 5))))


def _full_name(rng: np.random.Generator) -> str:
    return f"{wording.pick(rng, wording.FIRST_NAMES)} {wording.pick(rng, wording.LAST_NAMES)}"


def _place(rng: np.random.Generator) -> str:
    return wording.pick(rng, wording.CITIES)


def _first_name(rng: np.random.Generator) -> str:
    return wording.pick(rng, wording.FIRST_NAMES)


def _word(rng: np.random.Generator) -> str:
    return wording.pick(rng, wording.WORDS).capitalize()


def _yes_or_no(rng: np.random.Generator) -> str:
    return str(rng.choice(("Yes", "No")))


@dataclass(frozen=True, slots=True)
class Field:
    """``printed``: what stands on the paper; ``asked``: what people call it; ``draw``: a value."""

    name: str
    printed: tuple[str, ...]
    asked: tuple[str, ...]
    draw: Draw

    def value(self, rng: np.random.Generator, split: Split) -> str:
        """A value of ``split``, except where there are too few to share out."""
        for _ in range(30):
            text = self.draw(rng)
            if len(text) <= 18 and split_of(text) is split:
                return text
        return text


def _field(printed: str, asked: str, draw: Draw) -> Field:
    prints, asks = (tuple(part.split("|")) for part in (printed, asked))
    return Field(asks[0], prints, asks, draw)


FIELDS = {
    each.name: each
    for each in (
        _field("Total|TOTAL|Total due|Grand total|Amount due", "total|total amount|amount due", priced),
        _field("Subtotal|SUBTOTAL|Sub-total|Net", "subtotal|net amount", priced),
        _field("Tax|TAX|VAT|Sales tax", "tax|VAT|sales tax", priced),
        _field("Change|CHANGE", "change", priced),
        _field("Cash|CASH|Paid|Card", "amount paid|cash paid|payment", priced),
        _field("Discount|DISCOUNT", "discount", priced),
        _field("Shipping|Delivery|Freight", "shipping|delivery cost", priced),
        _field("Date|DATE|Issued", "date|date of issue", wording.date),
        _field("Due|Due date|Pay by|DUE DATE", "due date", wording.date),
        _field("Born|Date of birth|Birthday", "date of birth|birthday", wording.date),
        _field("Time|TIME", "time", wording.clock),
        _field("Invoice|Invoice no.|Invoice #|INVOICE NO", "invoice number", wording.code),
        _field("Order|Order no.|Order #", "order number", wording.code),
        _field("Receipt|Receipt no.|Bill no.", "receipt number", wording.code),
        _field("Customer|Bill to|Client|Sold to", "customer|client", _full_name),
        _field("Name|NAME|Full name", "name", _full_name),
        _field("First name|Given name", "first name", _first_name),
        _field("Contact|Contact person", "contact person|contact", _full_name),
        _field("Cashier|Served by|Clerk", "cashier", _first_name),
        _field("Doctor|Physician", "doctor|physician", _full_name),
        _field("Phone|Tel.|Telephone|PHONE", "phone number|telephone number", wording.phone),
        _field("E-mail|Email", "e-mail address|email", wording.email),
        _field("Web|Website", "website|web address", wording.website),
        _field("Address|Street", "address|street", wording.street),
        _field("City|Town|CITY", "city|town", _place),
        _field("Country|COUNTRY|Origin", "country|country of origin", lambda rng: wording.pick(rng, wording.COUNTRIES)),
        _field("From|FROM|Departure", "place of departure|origin", _place),
        _field("To|TO|Destination", "destination", _place),
        _field("Gate|GATE", "gate", lambda rng: f"{rng.choice(list('ABCDEF'))}{rng.integers(1, 60)}"),
        _field("Seat|SEAT", "seat", lambda rng: f"{rng.integers(1, 45)}{rng.choice(list('ABCDEF'))}"),
        _field("Flight|Train|FLIGHT", "flight|train number", wording.code),
        _field("Room|ROOM", "room|room number", _number),
        _field("Table|TABLE", "table|table number", _number),
        _field("Guests|Persons", "number of guests|number of persons", _number),
        _field("Quantity|Qty|QTY", "quantity", _number),
        _field("Weight|WEIGHT|Net weight", "weight", wording.quantity),
        _field("Size|SIZE", "size", lambda rng: str(rng.choice(("XS", "S", "M", "L", "XL", "36", "38", "40", "42", "44")))),
        _field("Colour|Color", "colour|color", lambda rng: wording.pick(rng, wording.COLOURS)),
        _field("Model|MODEL|Type", "model|type", wording.code),
        _field("Serial|Serial no.|S/N", "serial number", wording.code),
        _field("Batch|LOT|Lot no.", "batch|lot number", wording.code),
        _field("Expires|Best before|EXP|Use by", "expiry date|best before date", wording.date),
        _field("Price|PRICE", "price", priced),
        _field("Power|POWER", "power", lambda rng: f"{rng.integers(1, 200) * 10} W"),
        _field("Voltage|VOLTAGE", "voltage", lambda rng: f"{rng.choice((12, 24, 48, 110, 230, 400))} V"),
        _field("Department|Dept.|Section", "department", _word),
        _field("Position|Job title|Title", "position|job title", _word),
        _field("Member|Member no.|ID", "member number|ID", wording.code),
        _field("Status|STATUS", "status", _word),
        _field("Age|AGE", "age", lambda rng: str(rng.integers(18, 90))),
        _field("Signed|Signature", "signature", _full_name),
        _field("Insured|Smoker|Allergies", "answer to the question|allergies", _yes_or_no),
    )
}
RECEIPT = (
    "total",
    "subtotal",
    "tax",
    "change",
    "amount paid",
    "date",
    "time",
    "receipt number",
    "cashier",
    "table",
    "discount",
)
INVOICE = (
    *("total", "subtotal", "tax", "date", "due date", "invoice number", "order number", "customer", "shipping", "phone number"),
    *("contact person", "address", "city"),
)
FORM = (
    *("name", "first name", "date of birth", "address", "city", "country", "phone number", "e-mail address", "department"),
    *("position", "member number", "age", "signature", "doctor", "room", "status", "date"),
)
LABEL = (
    *("price", "weight", "size", "colour", "model", "serial number", "batch", "expiry date", "power", "voltage"),
    *("country", "quantity", "date", "order number"),
)
TICKET = (
    "flight",
    "gate",
    "seat",
    "date",
    "time",
    "place of departure",
    "destination",
    "name",
    "price",
    "room",
    "number of guests",
)
