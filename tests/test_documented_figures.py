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
from ixc.evaluation.run import weights_fingerprint
from ixc.models import presets
from ixc.models.inf_llava import InfLlavaForCausalLM
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ForCausalLM
from ixc.tiling import SizePx, plan_tiles

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NANO_CARD, INF_CARD = (
    (ROOT / "assets" / "models" / name / "README.md").read_text(encoding="utf-8") for name in ("ixc-nano", "inf-nano")
)
NANO, INF, SPEED = (
    json.loads((ROOT / "assets" / "results" / name).read_text(encoding="utf-8"))
    for name in ("nano_eval.json", "inf_nano_eval.json", "inference_cpu.json")
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


def fingerprints(model: torch.nn.Module) -> set[str]:
    """Of its weights on a CPU and on a GPU."""
    return {weights_fingerprint(model.to(dtype)) for dtype in (torch.float32, torch.bfloat16)}


@pytest.mark.parametrize(("digest", "figures"), [("weights", "the figures by budget"), ("ablation_weights", "the ablation")])
def test_what_was_measured_is_of_the_weights_that_are_shipped(digest, figures):
    shipped = fingerprints(XComposer2ForCausalLM.from_pretrained(presets.NANO.source, dtype=torch.float32))
    assert NANO.get(digest) in shipped, f"{figures} in nano_eval.json are of other weights than the shipped: measure again"


def test_both_models_were_measured_with_the_weights_that_are_shipped():
    for preset, model_class in ((presets.INF_NANO, InfLlavaForCausalLM), (presets.NANO, XComposer2ForCausalLM)):
        digest = INF.get("weights", {}).get(preset.name)
        shipped = fingerprints(model_class.from_pretrained(preset.source, dtype=torch.float32))
        assert digest in shipped, f"{preset.name} in inf_nano_eval.json is of other weights than the shipped: measure again"
    assert re.fullmatch(r"[0-9a-f]{64}", INF.get("documents_digest", "")), "it does not say of which documents: measure again"


def short(value: float) -> str:
    """As the README's table has it: a decimal below ten, thousands apart."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def bound(figure: dict) -> str:
    """The target without its words."""
    return figure["target"].removeprefix("at most ").removeprefix("at least ")


@pytest.mark.parametrize(
    ("label", "name", "baseline", "elsewhere"),
    [
        ("the plan", "plan of one image", "", False),
        ("JPEG to tiles, one core", "JPEG to tiles, 3840 x 2160, one core", "official", True),
        ("prefill", "prefill, 3693 tokens", "boolean gathers", False),
        ("first token, first turn, greedy", "first token, first turn", "official, greedy", False),
        ("the same against three beams", "first token, first turn", "official, 3 beams", True),
        ("first token, second turn", "first token, second turn", "everything again", False),
        ("decode", "decode", "generate", True),
    ],
)
def test_the_readme_s_speeds_were_measured(label, name, baseline, elsewhere):
    """``elsewhere``: the ratio at HD-9 stands in brackets. One of the same figure's other targets may come first."""
    of_name = [each for each in SPEED["figures"] if each["name"] in (name, f"HD-25 {name}")]
    (here,) = (each for each in of_name if each["baseline_name"] == baseline)
    ratio = f"{short(here['ratio'])}x" if here["ratio"] else ""
    if elsewhere:
        (other,) = (each for each in SPEED["figures"] if (each["name"], each["baseline_name"]) == (f"HD-9 {name}", baseline))
        ratio += f" (HD-9: {short(other['ratio'])}x)"
    speed, theirs, said_ratio, targets = cells(README, label)
    assert speed == f"{short(here['value'])} {here['unit']}"
    assert theirs == (f"{short(here['baseline'])} {here['unit']}" if here["baseline"] else "")
    assert said_ratio == ratio
    *others, target = targets.split(", ")
    assert target == bound(here)
    assert set(others) <= {bound(each) for each in of_name}


def test_the_readme_says_how_the_speeds_were_measured():
    text = " ".join(README.split())
    prefill = next(each["name"] for each in SPEED["figures"] if each["name"].startswith("HD-25 prefill"))
    num_tokens = int(re.search(r"(\d+) tokens", prefill)[1])
    assert f"| HD-25, a 3840x2160 image, {num_tokens:,} tokens |" in README
    processor = SPEED["hardware"].split(",")[0]
    assert f"`{SPEED['model']}`, {SPEED['precision']}, one thread of an {processor}, medians of {SPEED['repeats']}" in text
    assert SPEED["torch_threads"] == 1
    assert SPEED["is_complete"]


def stored(name: str, command: str) -> dict[str, dict]:
    """The figures of a result by name, and all of it under ""; without it the test fails and says what writes it."""
    path = ROOT / "assets" / "results" / name
    assert path.exists(), f"there is no {name}: {command} --out assets/results/{name}"
    result = json.loads(path.read_text(encoding="utf-8"))
    return {"": result, **{figure["name"]: figure for figure in result["figures"]}}


def test_the_readme_s_slider_was_measured():
    figures = stored("slider.json", "python -m ixc.benchmarks.slider")
    times = r"in Chromium within (\d+) ms \(p95; median (\d+) ms; limit (\d+) ms\)"
    pattern = times + r" and takes (\d+) KB \(at most (\d+) KB; limit (\d+) KB\)"
    p95, median, limit_ms, size, largest, limit_kb = re.search(pattern, " ".join(README.split())).groups()
    of_figures = [("browser, p95", p95), ("browser, median", median)]
    of_figures += [("on the wire, median", size), ("on the wire, largest", largest)]
    for name, said in of_figures:
        assert said == f"{figures[name]['value']:.0f}", name
    assert figures["browser, p95"]["target"] == f"at most {limit_ms} ms"
    assert figures["on the wire, largest"]["target"] == f"at most {limit_kb} KB"
    assert figures["browser, p95"]["is_met"]
    assert figures["on the wire, largest"]["is_met"]


def test_the_readme_s_load_was_measured():
    figures = stored("load.json", "python -m ixc.benchmarks.load --users 50 --seconds 460")
    text, values = " ".join(README.split()), {name: each["value"] for name, each in figures.items() if name}
    asked = figures[""]
    assert f"{asked['users']} users" in text
    assert f"--users {asked['users']} --seconds {asked['seconds']:.0f}" in text
    assert f": {values['answers']:,} answers, {values['answers a second']:.1f} a second" in text
    words = f"{values['first words, median']:.2f} s (median; p95 {values['first words, p95']:.2f} s)"
    assert f"first words after {words}" in text
    assert f"{values['refused kindly']:,} questions refused" in text
    assert (values["errors"], values["cross-talk"]) == (0, 0)
    *first, last = (f"{values[f'memory, quarter {n}']:.0f}" for n in (1, 2, 3, 4))
    assert f"{', '.join(first)} and {last} MB in the four quarters" in text
    assert f"{values['memory at last']:.0f} MB at the end" in text


def test_the_readme_s_short_cut_of_inf_llava_was_measured():
    figures = stored("inf_vision_cpu.json", "OMP_NUM_THREADS=1 python -m ixc.benchmarks.dual_perspective")
    ratios = r"\(limit ([\d.]+)\): ([\d.]+) times with three layers, ([\d.]+) times reckoned"
    pattern = r"\(largest difference ([\d.]+) in float32, limit 1e-6.*" + ratios
    difference, limit, measured, reckoned = re.search(pattern, " ".join(README.split())).groups()
    released = figures["the same, reckoned for the released 23 layers"]
    assert figures[""]["vision_layers"] == 4
    assert figures[""]["threads"] == 1
    assert float(difference) == figures[""]["largest_difference"] <= 1e-6
    assert (measured, reckoned) == (f"{figures['INF-LLaVA vision part']['ratio']:.1f}", f"{released['ratio']:.1f}")
    assert released["target"] == f"at least {limit}x"
    assert released["is_met"]


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
