"""What the README and the model cards say is what was measured, by `assets/results/*.json`, or what the app counts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights

from ixc.chat.costs import CostModel
from ixc.chat.loading import VIEWS_PER_PASS, prefill_chunk_tokens
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ForCausalLM
from ixc.tiling import SizePx, plan_tiles

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NANO_CARD, INF_CARD = (
    (ROOT / "assets" / "models" / name / "README.md").read_text(encoding="utf-8") for name in ("ixc-nano", "inf-nano")
)
NANO, INF = (
    json.loads((ROOT / "assets" / "results" / name).read_text(encoding="utf-8"))
    for name in ("nano_eval.json", "inf_nano_eval.json")
)
BUDGETS = ("HD-1", "HD-4", "HD-9", "HD-16", "HD-25")


def cells(text: str, label: str) -> list[str]:
    """The row of a table in Markdown that begins with ``label``, without it."""
    (row,) = re.findall(rf"^ *\| {re.escape(label)} \|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


def percent(share: float) -> str:
    return f"{share:.0%}"


def percent_of(part: dict, key: str) -> str:
    return f"{percent(part[key])} of {part['num']}"


@pytest.mark.parametrize(
    ("label", "part", "figure"),
    [
        ("all answers exact", "all", "exact"),
        ("known fonts and layouts", "known", "exact"),
        ("unseen fonts and layouts", "held-out", "exact"),
        ("of what is legible", "legible", "exact"),
        ("says that it is too small, of what is", "too_small", "said_so"),
    ],
)
def test_the_small_model_s_card_says_what_was_measured(label, part, figure):
    _, *said = cells(NANO_CARD, label)
    measured = [NANO["budgets"][budget][part] for budget in BUDGETS]
    assert said == [percent(each[figure]) if each["num"] else "" for each in measured]


def test_the_card_s_figures_for_other_programs_and_signs_were_measured():
    text = " ".join(NANO_CARD.split())
    others, signs = NANO["other_programs"]["HD-16"], NANO["signs"]
    said = re.search(r"Of (\d+) questions about documents printed by other programs (\d+%)", text)
    assert said.groups() == (str(others["all"]["num"]), percent(others["all"]["exact"]))
    for title in ("Chromium", "matplotlib", "LibreOffice"):
        assert f"{title} {percent(others[title.lower()]['exact'])}" in text
    for budget in ("HD-1", "HD-4"):
        assert f"{percent(signs[budget]['all']['exact'])} at {budget}" in text


def test_the_readme_s_figures_for_the_small_model_were_measured():
    text = " ".join(README.split())
    shares = {budget: NANO["budgets"][budget]["all"]["exact"] for budget in BUDGETS}
    for budget, share in [*shares.items(), ("HD-16", NANO["budgets"]["HD-16"]["held-out"]["exact"])]:
        assert f"{percent(share).replace('%', ' %')} at {budget}" in text
    assert f"{NANO['budgets']['HD-1']['all']['num']:,} questions about {NANO['num_documents']:,} held-out documents" in text


@pytest.mark.parametrize(
    ("label", "sequence"),
    [("whole sequence", "full"), ("without newline", "no newline"), ("without global view", "no global view")],
)
def test_the_readme_s_ablation_was_measured(label, sequence):
    shares = [NANO["ablation"][sequence][budget]["exact"] for budget in ("HD-4", "HD-9")]
    assert cells(README, label) == [percent(share).replace("%", " %") for share in shares]
    assert f"for {NANO['ablation_steps']} steps" in README


def test_the_readme_s_memory_of_the_7b_is_what_the_app_counts():
    with init_empty_weights():
        model = XComposer2ForCausalLM(XComposer2Config()).to(torch.bfloat16)
    weights_gb = model.num_parameters() * 2 / 1e9

    def asked_gb(max_patches: int, chunk_tokens: int) -> float:
        costs = CostModel(model, prefill_chunk_tokens=chunk_tokens, views_per_pass=VIEWS_PER_PASS["cuda"])
        return costs.estimate(plan_tiles(SizePx(2160, 3840), max_patches), 32).memory_bytes / 1e9

    whole, pieces = (prefill_chunk_tokens(torch.device("cuda"), num_bytes) for num_bytes in (None, 1))
    for budget in (9, 16, 25, 55):
        _, num_tokens, on_top, together = cells(README, f"HD-{budget}")
        assert int(num_tokens.replace(",", "")) == plan_tiles(SizePx(2160, 3840), budget).num_visual_tokens
        assert float(on_top.removesuffix(" GB")) == pytest.approx(asked_gb(budget, whole), abs=0.06)
        assert float(together.removesuffix(" GB")) == pytest.approx(weights_gb + asked_gb(budget, whole), abs=0.06)
    for said_gb, budget in re.findall(r"([\d.]+) GB at HD-(\d+)", README):
        assert float(said_gb) == pytest.approx(asked_gb(int(budget), pieces), abs=0.06)


@pytest.mark.parametrize("text", [README, INF_CARD], ids=["README", "model card"])
@pytest.mark.parametrize(
    ("label", "model", "budget"),
    [
        ("inf-nano, 336 px", "inf-nano", "HD-1"),
        ("inf-nano, 1008 px", "inf-nano", "HD-9"),
        ("ixc-nano, HD-1", "ixc-nano", "HD-1"),
        ("ixc-nano, HD-4", "ixc-nano", "HD-4"),
        ("ixc-nano, HD-9", "ixc-nano", "HD-9"),
    ],
)
def test_both_models_figures_are_those_of_one_measurement(text, label, model, budget):
    signs = (INF["budgets"] if model == INF["model"] else INF[model]).get(budget)
    documents = INF["documents"][model][budget]
    measured = [percent(signs[part]["exact"]) if signs else "" for part in ("all", "held-out")]
    measured += [percent(documents["all"]["exact"]), percent_of(documents["legible"], "exact")]
    measured += [percent_of(documents["too_small"], "said_so")]
    assert cells(text, label)[1:] == measured
