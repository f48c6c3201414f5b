"""The kinds of documents that are drawn."""

from __future__ import annotations

KIND_SHARES = {
    "sign": 0.26,
    "receipt": 0.11,
    "invoice": 0.1,
    "form": 0.1,
    "label": 0.09,
    "ticket": 0.05,
    "table": 0.09,
    "bar chart": 0.08,
    "notice": 0.06,
    "shapes": 0.03,
    "photograph": 0.03,
}
"""How often each kind of document is drawn."""
