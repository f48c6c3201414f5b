"""The Evidence tab shows what the evaluations wrote, whatever they come to write, and the papers' numbers as they are."""

from __future__ import annotations

import json
import re

import pytest

from ixc.evaluation.tasks import TASKS
from ixc.shipped import ASSETS
from ixc.ui.evidence import evidence_page_value, read_ablation, read_comparison, read_curves


def test_a_curve_has_a_point_for_each_budget_and_group():
    groups = {
        "all": {"num": 50, "exact": 0.5, "misread": []},
        "tasks": {"receipt": {"exact": 0.25, "num": 8}},
        "misread": [["a", "b"]],
    }
    (curve,) = read_curves({"model": "m", "budgets": {"HD-16": groups, "HD-1": {"all": {"num": 50, "exact": 0.1}}}})
    assert curve == {
        "model": "m",
        "test": "documents",
        "numDocuments": None,
        "labels": {},
        "series": [
            {
                "name": "all",
                "is_drawn": True,
                "points": [{"budget": 1, "share": 0.1, "num": 50}, {"budget": 16, "share": 0.5, "num": 50}],
            },
            {"name": "receipt", "is_drawn": False, "points": [{"budget": 16, "share": 0.25, "num": 8}]},
        ],
    }


def test_an_input_without_tiles_is_called_what_it_is():
    evaluation = {"model": "m", "inputs": {"HD-9": "1008 px", "large": "?"}, "budgets": {"HD-9": {"all": {"exact": 0.5}}}}
    assert read_curves(evaluation)[0]["labels"] == {"9": "1008 px"}


def test_each_test_has_a_curve_of_its_own_that_says_what_was_asked():
    """Shares of signs and of questions about documents are no answer to each other."""
    signs = {"HD-1": {"all": {"exact": 0.5, "num": 9}, "tasks": {"sign": {"exact": 0.5, "num": 9}}}}
    tasks = {"sign": {"exact": 1, "num": 1}, "field": {"exact": 0, "num": 6}}
    asked = {"HD-1": {"all": {"exact": 0.2, "num": 7}, "tasks": tasks}}

    def told(evaluation: dict) -> list[tuple]:
        curves = read_curves({"model": "m"} | evaluation)
        return [(each["test"], each["numDocuments"], each["series"][0]["points"][0]["num"]) for each in curves]

    both = [("documents", 5, 7), ("signs", None, 9)]
    assert told({"budgets": asked, "num_documents": 5, "signs": signs}) == both
    assert told({"budgets": signs, "other": signs, "documents": {"num_documents": 5, "m": asked, "other": asked}}) == both
    assert told({"budgets": signs}) == both[1:]


def test_a_group_that_is_all_of_the_test_is_told_once():
    figures = {"exact": 0.5, "num": 9}
    groups = {"all": figures, "held-out": {"exact": 0.5, "num": 4}, "known": {"exact": 0.5, "num": 5}, "legible": figures}
    (curve,) = read_curves({"model": "m", "budgets": {"HD-1": groups}})
    assert [series["name"] for series in curve["series"]] == ["all", "known", "held-out"]


def test_models_are_compared_at_the_same_tests():
    """As the small INF-LLaVA's model card has it."""
    shown = evidence_page_value()
    (table,) = shown["comparisons"]
    said = {
        (row["model"], row["input"]): [cell and f"{cell['share']:.0%} of {cell['num']}" for cell in row["cells"]]
        for row in table["rows"]
    }
    assert table["models"] == ["inf-nano", "ixc-nano"]
    card = (ASSETS / "models" / "inf-nano" / "README.md").read_text(encoding="utf-8")
    num_signs, num_questions = re.search(r"\| (\d+) signs \|.*\| (\d+) questions about \d+ documents", card).groups()
    for model, name, signs, documents, legible in re.findall(
        r"^\| (\S+), (\d+ px|HD-\d+) \|[^|]*\| ?(\d*%?) \|[^|]*\| (\d+%) \| (\d+% of \d+) \|", card, re.MULTILINE
    ):
        signs = f"{signs} of {num_signs}" if signs else None
        assert said.pop((model, name)) == [signs, f"{documents} of {num_questions}", legible]
    assert said == {}
    assert read_comparison({"model": "m", "documents": {"num_documents": 1, "m": {"HD-1": {"all": {"exact": 1}}}}}) is None


def test_every_name_that_is_shown_has_words_in_each_language():
    """A name without words of its own is shown as the file has it, in English on the Chinese page too."""
    shown = evidence_page_value()
    names = {f"evidence.group.{series['name']}" for curve in shown["curves"] for series in curve["series"]}
    names |= {f"evidence.variant.{row['name']}" for table in shown["ablations"] for row in table["rows"]}
    names |= {f"evidence.variant.{row['variant']}" for row in shown["published"]["ablation"]}
    assert len(names) > 15
    languages = json.loads((ASSETS / "ui" / "strings.json").read_text(encoding="utf-8"))
    for language, texts in languages.items():
        missing = sorted(name for name in names if name.replace(" ", "_") not in texts)
        assert missing == [], language


def phrase_key(text: str) -> str:
    """What the page looks a phrase of a file up by: its numbers may be any."""
    return re.sub(r"\W+", "_", re.sub(r"\d+", "n", text))


def test_every_measured_speed_has_words_in_each_language():
    figures = [figure for speed in evidence_page_value()["speeds"] for figure in speed["figures"]]
    names = {f"figure.{phrase_key(re.sub(r'^HD-[0-9]+ ', '', figure['name']))}" for figure in figures}
    names |= {
        f"by.{phrase_key(figure['baseline_name'])}" for figure in figures if figure["baseline_name"] not in ("", "Pillow")
    }
    names |= {f"unit.{phrase_key(figure['unit'])}" for figure in figures if figure["unit"] not in ("GB",)}
    assert len(names) > 15
    assert all(re.fullmatch(r"|at (most|least) [\d.]+ ?\w*", figure["target"]) for figure in figures)
    languages = json.loads((ASSETS / "ui" / "strings.json").read_text(encoding="utf-8"))
    for language, texts in languages.items():
        assert sorted(name for name in names if f"evidence.speed.{name}" not in texts) == [], language


def test_ablations_come_with_or_without_budgets():
    assert read_ablation({"ablation": {"full": {"exact": 0.9, "num": 10}, "no newline": {"exact": 0.8}}})["rows"] == [
        {"name": "full", "shares": [0.9]},
        {"name": "no newline", "shares": [0.8]},
    ]
    assert not read_ablation({"ablation": {"full": {"exact": 0.9}}, "weights": "a", "ablation_weights": "a"})["isOfOthers"]
    assert read_ablation({"ablation": {"full": {"exact": 0.9}}, "weights": "a", "ablation_weights": "b"})["isOfOthers"]
    table = read_ablation(
        {"ablation": {"full": {"HD-9": {"exact": 0.9}, "HD-16": {"all": {"exact": 0.95}}}, "bare": {"HD-9": {"exact": 0.7}}}}
    )
    assert table["budgets"] == [9, 16]
    assert [row["shares"] for row in table["rows"]] == [[0.9, 0.95], [0.7, None]]


def test_nonsense_is_left_out(tmp_path):
    for name, text in {
        "a_eval.json": "{",
        "b_eval.json": "[]",
        "c_eval.json": '{"budgets": {"HD-x": {}, "HD-4": {"all": {"exact": "many"}}}}',
        "d_eval.json": '{"budgets": [1], "ablation": {"full": 3}}',
        "e_eval.json": '{"signs": 1, "documents": {"a": 1, "b": {"HD-1": {"all": null}}, "num_documents": "many"}}',
        "inference_x.json": '{"figures": [{"value": null}, 7]}',
    }.items():
        (tmp_path / name).write_text(text)
    assert evidence_page_value(tmp_path) == {"curves": [], "comparisons": [], "ablations": [], "speeds": [], "published": None}


@pytest.mark.parametrize(
    ("running", "order"),
    [("b", ["b", "ixc-nano", "a"]), ("ixc-nano", ["ixc-nano", "a", "b"]), ("/a/folder", ["ixc-nano", "a", "b"])],
)
def test_what_the_app_runs_comes_first_then_the_default_model(tmp_path, running, order):
    for model in ("a", "b", "ixc-nano"):
        evaluation = {"model": model, "budgets": {"HD-1": {"all": {"exact": 0.5}}}, "ablation": {"full": {"exact": 0.5}}}
        (tmp_path / f"{model}_eval.json").write_text(json.dumps(evaluation))
    shown = evidence_page_value(tmp_path, running)
    assert [curve["model"] for curve in shown["curves"]] == order
    assert [table["model"] for table in shown["ablations"]] == order


def test_a_speed_table_is_read(tmp_path):
    figure = {
        "name": "HD-9 decode",
        "value": 50.0,
        "unit": "tokens/s",
        "baseline": 20.0,
        "baseline_name": "generate",
        "ratio": 2.5,
    }
    (tmp_path / "inference_cpu.json").write_text(json.dumps({"model": "m", "hardware": "2 cores", "figures": [figure]}))
    (speed,) = evidence_page_value(tmp_path)["speeds"]
    assert (speed["hardware"], speed["figures"][0]["ratio"]) == ("2 cores", 2.5)


def test_what_is_shipped_is_shown():
    assert any(curve["series"][0]["name"] == "all" for curve in evidence_page_value()["curves"])


def test_published_numbers_are_those_that_evaluations_are_compared_with():
    published = evidence_page_value()["published"]
    for column, title in enumerate(published["tasks"]):
        task = next((task for task in TASKS.values() if task.title == title), None)
        if task is None:
            continue
        scores = {each.label: each.score for each in task.published}
        for row in published["budgets"]:
            label = f"paper, trained at HD-{row['trained']}, run at HD-{row['run']}"
            assert scores[label] == row["scores"][column]
