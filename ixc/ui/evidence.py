"""What was measured and published, for the Evidence tab: read from ``assets/results/*.json``, drawn by the page.

Read are, each as far as it is there and makes sense (a file that does not is logged and left out):

``*_eval.json``: {"model": name, "seed": n, "budgets": BUDGETS, "num_documents": n, "signs": BUDGETS, "ablation": ...}
    BUDGETS are {"HD-1": {GROUP: FIGURES, ...}, ...}: one test, at each budget. GROUP names a part of it ("all" is drawn first);
    FIGURES are {"exact": share, "num": answers}. A GROUP may hold groups itself ({"tasks": {"receipt": FIGURES}}); where signs
    are all that was asked about, the test is of signs, else of documents. "inputs" says what a budget is called, where the
    model has none: {"HD-9": "1008 px"}. "ablation" holds, by variant, FIGURES or {"HD-9": FIGURES, ...}.
    {"documents": {"num_documents": n, name: BUDGETS, ...}, other: BUDGETS}: other models at the same tests.
``inference_*.json``: {"model", "hardware", "torch", "date", "repeats", "figures": [{"name", "value", "unit", "baseline",
    "baseline_name", "ratio", "target"}]}, as ``ixc bench`` writes it.
``published.json``: the papers' own numbers.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ixc.settings import Settings
from ixc.shipped import ASSETS

logger = logging.getLogger(__name__)

RESULTS_FOLDER = ASSETS / "results"
_FIRST = "all"
"""The group that sums the others up."""
_ORDER = (_FIRST, "known", "held-out")
"""So begins every chart, that a line looks the same in each; other groups follow as they were written."""
_LEGIBLE = "legible"
"""The group of what a model could read at its input."""
_SIGNS, _DOCUMENTS = "signs", "documents"
"""What a test is about."""


@cache
def evidence_page_value(folder: Path = RESULTS_FOLDER, model: str = "") -> dict[str, Any]:
    """Curves, comparisons, ablations and speeds of every file in ``folder``, and what the papers report (None: no file).

    The evaluation of ``model``, which the app runs, comes first, then that of the default model.
    """
    evaluations = [each for path in sorted(folder.glob("*_eval.json")) if (each := _read(path))]
    evaluations.sort(key=lambda each: (each.get("model") != model, each.get("model") != Settings().model))
    speeds = [each for path in sorted(folder.glob("inference_*.json")) if (each := _read(path))]
    return {
        "curves": [curve for each in evaluations for curve in read_curves(each)],
        "comparisons": [table for each in evaluations if (table := read_comparison(each))],
        "ablations": [table for each in evaluations if (table := read_ablation(each))],
        "speeds": [speed for each in speeds if (speed := read_speed(each))],
        "published": _read(folder / "published.json"),
    }


def read_curves(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model's curve in each test that it took: answers about documents first, and signs read."""
    model, documents = str(evaluation.get("model", "")), evaluation.get(_DOCUMENTS)
    tests = [(evaluation.get("budgets"), evaluation.get("num_documents")), (evaluation.get(_SIGNS), None)]
    if isinstance(documents, Mapping):
        tests.append((documents.get(model), documents.get("num_documents")))
    curves = [curve for budgets, num in tests if (curve := _curve(evaluation, budgets, num))]
    return sorted(curves, key=lambda curve: curve["test"] == _SIGNS)


def _curve(evaluation: Mapping[str, Any], budgets: Any, num_documents: Any) -> dict[str, Any] | None:
    """Share of exact answers by budget in one test, one series for each group; None without any.

    Groups inside others, such as the tasks, are many: the page puts them into the table and does not draw them. A group that is
    all of the test says nothing new.
    """
    series: dict[str, list[dict[str, float | int]]] = {}
    inner: set[str] = set()
    for budget, groups in sorted(_by_budget(budgets).items()):
        for name, share, num, depth in _groups(groups):
            series.setdefault(name, []).append({"budget": budget, "share": share, "num": num})
            if depth:
                inner.add(name)
    if not series:
        return None
    whole = series.get(_FIRST)
    names = sorted(series, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return {
        "model": str(evaluation.get("model", "")),
        "test": _SIGNS if inner == {"sign"} else _DOCUMENTS,
        "numDocuments": num_documents if _is_number(num_documents) else None,
        "labels": _labels(evaluation),
        "series": [
            {"name": name, "is_drawn": name not in inner, "points": series[name]}
            for name in names
            if name == _FIRST or series[name] != whole
        ],
    }


def read_comparison(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """Several models at the very same tests: the models' inputs in rows, the tests in columns; None without any.

    A cell is {"share", "num"}, or None where that was not asked. Only the evaluation's own model has labels for its inputs.
    """
    documents = evaluation.get(_DOCUMENTS)
    if not isinstance(documents, Mapping):
        return None
    own, rows = evaluation.get("model"), []
    for model, in_documents in documents.items():
        on_signs = _by_budget(evaluation.get("budgets" if model == own else model))
        about_documents = _by_budget(in_documents)
        labels = _labels(evaluation) if model == own else {}
        for budget in sorted({*on_signs, *about_documents}):
            asked = about_documents.get(budget)
            cells = [_figures(on_signs.get(budget), _FIRST), _figures(asked, _FIRST), _figures(asked, _LEGIBLE)]
            rows.append({"model": str(model), "input": labels.get(str(budget), f"HD-{budget}"), "cells": cells})
    models = list(dict.fromkeys(row["model"] for row in rows))
    return {"models": models, "rows": rows} if len(models) > 1 else None


def _labels(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """What budgets are called instead of "HD-4", where the file says so."""
    return {str(budget): str(label) for budget, label in _by_budget(evaluation.get("inputs")).items()}


def _figures(groups: Any, wanted: str) -> dict[str, float | int] | None:
    found = (each for each in _groups(groups) if each[0] == wanted)
    return next(({"share": share, "num": num} for _, share, num, _ in found), None)


def read_ablation(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """Variants in rows, budgets in columns (0: the file names none), and whether it is of other weights; None without any."""
    table = evaluation.get("ablation")
    if not isinstance(table, Mapping):
        return None
    rows, budgets = [], set()
    for variant, figures in table.items():
        by_budget = _by_budget(figures) or {0: figures}
        cells = {budget: share for budget, each in by_budget.items() if (share := _overall(each)) is not None}
        if cells:
            rows.append((str(variant), cells))
            budgets |= set(cells)
    columns = sorted(budgets)
    if not rows:
        return None
    return {
        "model": str(evaluation.get("model", "")),
        "budgets": columns,
        "isOfOthers": evaluation.get("ablation_weights") != evaluation.get("weights"),
        "rows": [{"name": name, "shares": [cells.get(budget) for budget in columns]} for name, cells in rows],
    }


def read_speed(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Measured medians beside their baselines; None without any."""
    figures = []
    for each in result.get("figures") or []:
        if isinstance(each, Mapping) and _is_number(each.get("value")):
            numbers = {name: each.get(name) if _is_number(each.get(name)) else None for name in ("baseline", "ratio")}
            texts = {name: str(each.get(name) or "") for name in ("name", "unit", "baseline_name", "target")}
            figures.append({"value": each["value"], **numbers, **texts})
    if not figures:
        return None
    return {**{name: str(result.get(name) or "") for name in ("model", "hardware", "torch", "date")}, "figures": figures}


def _groups(groups: Any, depth: int = 0) -> Iterator[tuple[str, float, int, int]]:
    """Name, share of exact answers, number of answers and depth of every group, those inside others included."""
    if not isinstance(groups, Mapping) or depth > 2:
        return
    for name, figures in groups.items():
        if not isinstance(figures, Mapping):
            continue
        share, num = figures.get("exact"), figures.get("num")
        if _is_number(share) and 0 <= share <= 1:
            yield str(name), float(share), int(num) if _is_number(num) else 0, depth
        else:
            yield from _groups(figures, depth + 1)


def _overall(figures: Any) -> float | None:
    """The share that sums a group up: its own, else that of "all", else its first group's."""
    shares: dict[str, float] = {}
    for name, share, _, _ in _groups({_FIRST: figures}):
        shares.setdefault(name, share)
    return shares.get(_FIRST, next(iter(shares.values()), None))


def _by_budget(groups: Any) -> dict[int, Any]:
    """{"HD-16": ...} or {"16": ...} by number; other keys are left out."""
    if not isinstance(groups, Mapping):
        return {}
    named = ((re.fullmatch(r"(?:HD-)?(\d{1,3})", str(key)), value) for key, value in groups.items())
    return {int(match[1]): value for match, value in named if match}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read: %s", path.name, error)
        return None
    if not isinstance(data, dict):
        logger.warning("%s holds no results", path.name)
        return None
    return data
