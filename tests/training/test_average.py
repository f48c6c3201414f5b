"""The mean of several models."""

import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.training.average import main
from ixc.training.export import export_checkpoint


@pytest.fixture
def models(make_kit, tmp_path):
    """Two models of one architecture; every weight of the second is the first's plus 3."""
    kit = make_kit()
    export_checkpoint(kit, tmp_path / "first")
    with torch.no_grad():
        for weight in kit.model.parameters():
            weight += 3
    export_checkpoint(kit, tmp_path / "second")
    return tmp_path / "first", tmp_path / "second"


def test_shares_count(models, tmp_path):
    first, second = models
    assert main([str(first), f"{second}:2", "--out", str(tmp_path / "mean")]) == 0
    before, mean = load_file(first / "model.safetensors"), load_file(tmp_path / "mean" / "model.safetensors")
    assert before.keys() == mean.keys()
    for name, weight in before.items():
        assert torch.allclose(mean[name], weight + 2, atol=1e-5), name
        assert mean[name].dtype == weight.dtype
    XComposer2ForCausalLM.from_pretrained(tmp_path / "mean")  # with all the files that it takes
    assert {file.name for file in (tmp_path / "mean").iterdir()} == {file.name for file in second.iterdir()}


def test_what_has_no_mean_is_refused(models, tmp_path, caplog):
    first, second = models
    weights = load_file(second / "model.safetensors")
    save_file({name: weight for name, weight in weights.items() if "output" not in name}, second / "model.safetensors")
    out = str(tmp_path / "mean")
    with caplog.at_level(logging.ERROR):
        assert main([str(first), str(second), "--out", out]) == 1
        assert main([str(first), str(tmp_path / "none"), "--out", out]) == 1
        assert main([str(first), f"{first}:-1", "--out", out]) == 1
        assert main([str(first), str(second), "--out", str(first)]) == 1
    assert "is one of the models to be averaged" in caplog.messages[3]
    assert "has other tensors than" in caplog.messages[0]
    assert "There is no readable model.safetensors" in caplog.messages[1]
    assert "must be more than 0, not -1" in caplog.messages[2]
    assert not (tmp_path / "mean").exists()
