"""``python -m ixc.benchmarks.dual_perspective``: what it reckons, and what it refuses before it measures."""

import json

import pytest
import torch

from ixc.benchmarks import dual_perspective
from ixc.benchmarks.dual_perspective import Parts, main


def test_the_tower_grows_with_its_layers_and_the_rest_does_not():
    """Of 4 layers 3 are run, of 24 the first 23."""
    assert Parts(1, 30, 5).at_depth(24, 4) == Parts(1, 230, 5)
    *_, whole, released = dual_perspective._figures(Parts(1, 30, 5), Parts(2, 57, 45), 4)
    assert (whole.value, whole.baseline, whole.target) == (36, 104, None)
    assert (released.value, released.baseline) == (236, 2 + 19 * 23 + 45)
    assert released.is_met
    *_, measured = dual_perspective._figures(Parts(1, 30, 5), Parts(2, 57, 45), 24)
    assert measured.target is dual_perspective.TARGET


@pytest.fixture
def narrow(monkeypatch):
    """A tower and an enhancement that a test can wait for."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    monkeypatch.setattr(dual_perspective, "CLIP_VIT_L_336", dual_perspective.CLIP_VIT_L_336 | sizes)


def test_the_command_measures_views_in_the_engine_s_batches(narrow, monkeypatch, tmp_path, capsys):
    num_views = []
    encode_views = dual_perspective.InfLlavaForCausalLM.encode_views

    def encode(self, views):
        num_views.append(len(views))
        return encode_views(self, views)

    monkeypatch.setattr(dual_perspective.InfLlavaForCausalLM, "encode_views", encode)
    out = tmp_path / "new" / "dual.json"
    assert main(["--layers", "2", "--repeats", "1", "--device", "cpu", "--out", str(out)]) == 0
    assert num_views == 2 * [4, 4, 4, 4, 3, 4, 4, 2]
    report = json.loads(out.read_text())
    assert report["largest_difference"] <= 1e-6
    assert (report["vision_layers"], report["views_per_pass"]) == (2, 4)
    assert {"hardware", "date", "load_average"} <= report.keys()
    names = [figure["name"] for figure in report["figures"]]
    assert names[0] == "vision tower, 1 layers run"
    assert names[-1] == "the same, reckoned for the released 23 layers"
    assert all(name in capsys.readouterr().out for name in names[:1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--device", "banana"), "There is no device 'banana' here"),
        pytest.param(
            ("--device", "cuda"),
            "There is no device 'cuda' here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        (("--out", "."), "is a folder; give a file"),
        (("--out", "a-file/dual.json"), "could not be written"),
    ],
)
def test_what_cannot_be_measured_or_written_is_said_first(monkeypatch, tmp_path, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    monkeypatch.setattr(dual_perspective, "measure", lambda *_: pytest.fail("it was measured"))
    with pytest.raises(SystemExit) as ended:
        main(list(options))
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
