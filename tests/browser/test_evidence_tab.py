"""The Evidence tab: every share says of what it is, and every chart can be read on a phone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.conftest import DESKTOP, PHONE

MEASURED = json.loads((Path(__file__).parents[2] / "assets" / "results" / "inf_nano_eval.json").read_text(encoding="utf-8"))
# Labels of charts that stick out of their drawing or lie over each other.
BAD_LABELS = """() => [...document.querySelectorAll('.ixc-chart')].flatMap((chart) => {
  const frame = chart.getBoundingClientRect();
  const labels = [...chart.querySelectorAll('text')].map((node) => [node.textContent, node.getBoundingClientRect()]);
  const isOut = (box) => box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
  const out = labels.filter(([, box]) => isOut(box));
  const over = labels.flatMap(([one, a], at) => labels.slice(at + 1).filter(([, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3
  ).map(([two]) => `${one} | ${two}`));
  return [...out.map(([text]) => text), ...over];
})"""


@pytest.mark.parametrize("window", [DESKTOP, PHONE, {"width": 320, "height": 640}], ids=lambda each: str(each["width"]))
def test_the_labels_of_the_charts_have_room(visit, window):
    user = visit(viewport=window)
    user.page.click("#ixc-tab-evidence")
    user.page.wait_for_selector(".ixc-chart")
    assert user.page.locator(".ixc-chart").count() >= 4
    assert user.page.evaluate(BAD_LABELS) == []


def test_what_was_asked_stands_over_every_share(visit):
    user = visit()
    user.page.click("#ixc-tab-evidence")
    texts = [" ".join(each.split()) for each in user.page.locator("#ixc-evidence section").all_inner_texts()]
    titles = [" ".join(each.split()) for each in user.page.locator("#ixc-evidence section h2").all_inner_texts()]
    # The papers' own figures and the speeds apart, each share is of signs or of questions about documents.
    assert titles[:5] == [
        "ixc-nano: questions about documents, answered exactly right",
        "ixc-nano: signs read exactly right",
        "inf-nano and ixc-nano at the same tests",
        "inf-nano: questions about documents, answered exactly right",
        "inf-nano: signs read exactly right",
    ]
    by_title = dict(zip(titles, texts, strict=True))
    assert "the same 175 questions about 100 unseen documents" in by_title[titles[3]]
    assert "the same 100 unseen signs" in by_title[titles[4]]
    rows = user.page.locator("#ixc-evidence section", has_text=titles[2]).locator("tbody tr")
    told = {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in rows.all()}
    signs = {name: cells[0].split("\u00a0")[0] for name, cells in told.items()}
    assert signs["inf-nano, 336 px"] == f"{100 * MEASURED['budgets']['HD-1']['all']['exact']:.0f}"
    assert signs["ixc-nano, HD-1"] == f"{100 * MEASURED['ixc-nano']['HD-1']['all']['exact']:.0f}"
    assert told["ixc-nano, HD-9"][0] == "–"  # not asked
    assert all("of 175" in cells[1] for cells in told.values())
