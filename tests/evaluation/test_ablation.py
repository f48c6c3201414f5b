"""``python -m ixc.evaluation.ablation``, without its training: what it writes beside what others have written, and of whom."""

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ixc.training
from ixc.evaluation import ablation
from ixc.evaluation.run import weights_fingerprint
from ixc.models.presets import NANO
from ixc.models.xcomposer2 import XComposer2ForCausalLM

CONFIG = Path(ixc.training.__file__).parent / "configs" / "nano_whole.yaml"
FIGURES = {"num": 2, "exact": 0.5}


@pytest.fixture
def ablate(monkeypatch, tmp_path):
    """The command's exit code, run on the small model's weights; ``meanwhile`` happens while each of the three is trained."""
    results = tmp_path / "nano_eval.json"

    def run(meanwhile=lambda: None, model=NANO.source, steps=7, out="out", config=CONFIG):
        monkeypatch.setattr(ablation, "train_without", lambda *_: meanwhile())
        monkeypatch.setattr(ablation, "make_tasks", lambda *_: [])
        monkeypatch.setattr(ablation, "measure", lambda *_: {"HD-4": {"all": FIGURES}})
        options = ["--config", config, "--model", model, "--out", tmp_path / out, "--steps", steps, "--results", results]
        return ablation.main([str(option) for option in options])

    run.results = results
    return run


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def shipped_fingerprint():
    return weights_fingerprint(XComposer2ForCausalLM.from_pretrained(NANO.source, dtype=torch.float32))


def test_the_table_names_the_weights_that_all_three_began_with(ablate, tmp_path, caplog):
    table = {name: {"HD-4": FIGURES} for name in ("full", "no newline", "no global view")}
    assert ablate() == 0
    assert read(ablate.results) == {"ablation": table, "ablation_steps": 7, "ablation_weights": shipped_fingerprint()}
    others = load_file(NANO.source / "model.safetensors")
    others["plora_glb_GN"] = others["plora_glb_GN"] + 1
    (tmp_path / "others").mkdir()
    save_file(others, tmp_path / "others" / "model.safetensors")
    ablate.results.write_text(json.dumps({"budgets": {"HD-4": {}}, "weights": shipped_fingerprint()}))
    with caplog.at_level(logging.WARNING):
        assert ablate(model=tmp_path / "others", out="others-out") == 0
    assert read(ablate.results)["ablation_weights"] not in (None, shipped_fingerprint())
    assert "The ablation is of other weights" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert ablate() == 0
    assert "weights" not in caplog.text


def test_what_others_write_while_it_trains_stays(ablate):
    ablate.results.write_text(json.dumps({"num_documents": 3, "kept": True}))
    assert ablate(meanwhile=lambda: ablate.results.write_text(json.dumps({"num_documents": 1000, "kept": True}))) == 0
    found = read(ablate.results)
    assert (found["num_documents"], found["kept"], found["ablation_steps"]) == (1000, True, 7)


def test_a_file_that_cannot_be_added_to_is_found_before_anything_is_trained(ablate, caplog):
    ablate.results.write_text("[]")
    assert ablate(meanwhile=lambda: pytest.fail("it was trained")) == 1
    assert "is not what an evaluation wrote" in caplog.text


def test_checkpoints_of_other_steps_or_weights_or_another_config_are_not_gone_on_from(ablate, tmp_path, caplog):
    """300 steps that are there would otherwise be evaluated as 100."""
    assert ablate(steps=300) == 0
    (tmp_path / "out" / "no-newline" / "joint").mkdir(parents=True)
    before = ablate.results.read_bytes()
    changed = tmp_path / "changed.yaml"
    at_home = f"model: {CONFIG.with_name('nano_deeper.yaml')}"
    changed.write_text(CONFIG.read_text().replace("seed: 47", "seed: 48").replace("model: nano_deeper.yaml", at_home))
    for options, what in (({"steps": 100}, "steps"), ({"steps": 300, "config": changed}, "config")):
        caplog.clear()
        assert ablate(meanwhile=lambda: pytest.fail("it was trained"), **options) == 1
        assert f"another ablation, whose {what} differ" in caplog.text
    assert ablate.results.read_bytes() == before
    assert ablate(steps=300) == 0, "the same goes on"
    assert ablate(steps=100, out="other") == 0
    assert read(ablate.results)["ablation_steps"] == 100


def test_checkpoints_that_nothing_is_known_of_are_not_gone_on_from(ablate, tmp_path, caplog):
    (tmp_path / "out" / "full" / "joint").mkdir(parents=True)
    assert ablate(meanwhile=lambda: pytest.fail("it was trained")) == 1
    assert "differ or are not known; give another --out" in caplog.text
