"""The kinds of documents that are drawn."""

from __future__ import annotations

KIND_SHARES = {
    "sign": 0.2,
    "receipt": 0.11,
    "invoice": 0.1,
    "form": 0.1,
    "label": 0.08,
    "ticket": 0.05,
    "table": 0.1,
    "bar chart": 0.06,
    "line chart": 0.04,
    "pie chart": 0.03,
    "notice": 0.07,
    "shapes": 0.04,
    "photograph": 0.02,
}
"""How often each kind of document is drawn."""
