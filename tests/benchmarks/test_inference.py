"""The benchmark: its arithmetic, its baseline's honesty, and the command meant for a GPU, run whole on a small model."""

import json
import os
import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ixc.application.strings import load_strings
from ixc.benchmarks import concurrency, inference, measuring
from ixc.benchmarks.baseline import BaselineChat, official_linears
from ixc.benchmarks.concurrency import Answered, concurrency_figures, most_overtaken
from ixc.benchmarks.measuring import Figure, Target, table, times_ms
from ixc.benchmarks.plot import plot_svg
from ixc.benchmarks.random_weights import full_size_config, random_model, small_config
from ixc.chat.events import AnswerStats
from ixc.cli import main
from ixc.imaging.decode import DecodedImage
from ixc.models.xcomposer2 import VisualSpans, XComposer2ForCausalLM, XComposer2ImageProcessor
from ixc.tiling import SizePx
from tests.ui.test_evidence import phrase_key

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


def test_ratios_and_targets():
    at_most, at_least = Target(50), Target(240, is_larger_better=True)
    faster = Figure("a", 20, "ms", 60, "theirs", Target(2.5, is_ratio=True))
    assert (faster.ratio, faster.is_met) == (3, True)
    slower = Figure("a", 30, "ms", 60, "theirs", Target(2.5, is_ratio=True))
    assert (slower.ratio, slower.is_met) == (2, False)
    assert [Figure("a", value, "ms", target=at_most).is_met for value in (49, 50, 51)] == [True, True, False]
    speeds = [Figure("a", value, "tok/s", 100, target=at_least, is_larger_better=True) for value in (239, 240)]
    assert [(figure.ratio, figure.is_met) for figure in speeds] == [(2.39, False), (2.4, True)]
    assert Figure("a", 1, "ms").ratio is None
    assert Figure("a", 1, "ms", target=Target(2, is_ratio=True)).is_met is None
    lines = table([faster, slower, *speeds]).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["met", "missed", "missed", "met"]
    assert "at least 2.5x" in lines[1]
    assert "at least 240 tok/s" in lines[3]


def test_works_take_turns_and_the_first_round_does_not_count():
    calls, now = [], [0.0]
    seconds = {"ours": iter([9, 1, 5, 2]), "theirs": iter([9, 4, 6, 5])}

    def work(name):
        calls.append(name)
        now[0] += next(seconds[name])

    works = {name: lambda name=name: work(name) for name in seconds}
    measured = times_ms(works, 3, CPU, clock=lambda: now[0])
    assert measured == {"ours": 1000 * statistics.median([1, 5, 2]), "theirs": 5000}
    assert calls == ["ours", "theirs"] * 4


def test_the_plot_shows_every_ratio_and_nothing_of_a_title_s_markup():
    figures = [
        Figure("second <turn>", 10, "ms", 400, "again", Target(15, is_ratio=True)),
        Figure("slower", 10, "ms", 5, "other"),
        Figure("alone", 1, "ms"),
    ]
    root = ElementTree.fromstring(plot_svg(figures, "a & b"))
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a & b", "40.0x: 10 against 400 ms", "second <turn> (again)", "0.5x: 10 against 5 ms"} <= set(texts)
    assert not any("alone" in text for text in texts)
    ElementTree.fromstring(plot_svg([], "nothing measured yet"))


def answered(user, asked_s, started_s, ended_s):
    stats = AnswerStats(10.0, 5, 0, 3, 20.0, 0, waited_ms=1000 * (started_s - asked_s))
    return Answered(user, asked_s, ended_s, stats)


@pytest.mark.parametrize(
    ("num_overtaken", "schedule"),
    [
        (0, [(0, 0, 0, 2), (0, 2, 2, 9)]),  # alone
        (2, [(0, 0, 0, 1), (1, 0, 1, 2), (2, 0, 2, 3), (0, 1, 3, 4), (1, 2, 4, 5), (2, 3, 5, 6)]),  # in turn
        (3, [(0, 0, 0, 1), (1, 0, 1, 2), (0, 1, 2, 3), (2, 0, 3, 4)]),  # user 2 waits for both of user 0
        (1, [(0, 0, 0, 9), (1, 8, 9, 10)]),  # one that had begun before the question was asked
        (0, [(0, 0, 0, 1), (1, 1, 1, 2)]),  # and one that had ended
        (2, [(0, 0, 0, 1.01), (1, 0, 1, 2.01), (2, 0, 2, 3.01)]),  # ends heard of late, when the next has begun
    ],
)
def test_answers_are_counted_that_ended_while_another_question_waited(num_overtaken, schedule):
    """(user, asked, its turn, ended) in seconds, drawn by hand."""
    assert most_overtaken([answered(*question) for question in schedule]) == num_overtaken


class Clock:
    """In the place of time: it stands still but for what answers take."""

    def __init__(self):
        self.now_s = 0.0

    def perf_counter(self):
        return self.now_s


def test_conversations_are_about_a_picture_each_and_medians_of_rounds_in_turn(monkeypatch):
    """Of one user here, so that nothing else moves the clock. The first round does not count."""
    clock, asked = Clock(), []
    ours_s, theirs_s = iter([9, 9, 1, 1, 4, 4, 2, 2]), iter([9, 9, 3, 3, 7, 7, 5, 5])

    def ask(engine, session_id, image, budget, num_new_tokens, is_second):
        asked.append(("ours", is_second))
        clock.now_s += next(ours_s)
        return AnswerStats(10.0, 5, 0, 3, 20.0, 0, waited_ms=7)

    class Official:
        def ask(self, parts, pixels, budget, *, max_new_tokens):
            asked.append(("official", budget))
            clock.now_s += next(theirs_s)

    monkeypatch.setattr(concurrency, "ask", ask)
    monkeypatch.setattr(concurrency, "time", clock)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    engine = SimpleNamespace(forget=lambda session_id: None)
    image = DecodedImage.from_pixels(pixels)
    figures = concurrency_figures(engine, Official(), image, 4, num_users=1, num_new_tokens=3, repeats=3)
    assert [who for who, *_ in asked] == 4 * ["ours", "ours", "official", "official"]
    assert figures[0].value == pytest.approx(60 * 2 / 4)  # rounds of 2, 8 and 4 seconds
    assert figures[0].baseline == pytest.approx(60 * 2 / 10)  # of 6, 14 and 10
    assert [figure.value for figure in figures[1:]] == [7, 7, 0]
    assert all("a picture each" in figure.name for figure in figures)
    pictures = concurrency._one_each(image, 3)
    assert len({each.image_id for each in pictures}) == 3
    assert {each.size_px for each in pictures} == {image.size_px}


@pytest.mark.parametrize(("system", "num_bytes"), [("linux", 2048), ("darwin", 2)])
def test_memory_is_counted_in_the_system_s_units(monkeypatch, system, num_bytes):
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=2))
    monkeypatch.setattr(measuring, "resource", usage)
    monkeypatch.setattr(measuring.sys, "platform", system)
    assert measuring.PeakMemory(CPU).num_bytes == num_bytes


WITHOUT_UNIX = """
import os, sys
import psutil  # whose Linux part needs the module itself
sys.modules["resource"] = None
del os.sched_getaffinity
from ixc.benchmarks import app_process, measuring, results
assert measuring.resource is None
print(app_process.describe_hardware())
"""


def test_hardware_is_described_where_the_system_has_neither_affinity_nor_resource():
    """As on macOS, which has no affinity, and on Windows, which has neither."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_UNIX], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(f"{os.cpu_count()} cores")


def test_the_baseline_computes_what_the_model_computes():
    """Boolean gathers and all views at once are another way to the same numbers; else the comparison would be of nothing."""
    model = random_model(small_config(), CPU, torch.float32)
    generator = torch.Generator().manual_seed(1)
    embeds = torch.randn(1, 30, model.config.hidden_size, generator=generator)
    spans = VisualSpans.of_row([(3, 10), (12, 29)])
    with torch.inference_mode():
        expected = model(inputs_embeds=embeds, visual_spans=spans).logits
        plain = model(inputs_embeds=embeds).logits
        with official_linears():
            found = model(inputs_embeds=embeds, visual_spans=spans).logits
        assert torch.allclose(found, expected, atol=1e-4)
        assert not torch.allclose(plain, expected, atol=1e-2)
        again = model(inputs_embeds=embeds, visual_spans=spans).logits
    assert torch.equal(again, expected)


def test_the_baseline_sees_the_same_image():
    model = random_model(small_config(), CPU, torch.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    processor = XComposer2ImageProcessor()
    plan = processor.plan(SizePx(200, 300), 4)
    baseline = BaselineChat(model, None)
    with torch.inference_mode():
        (expected,) = model.encode_images(torch.from_numpy(processor.cut(pixels, plan)), [plan.grid])
        found = baseline.embed_tiles(baseline.float_tiles(pixels, plan), plan.grid)
    assert torch.allclose(found, expected, atol=1e-3)


def test_the_full_size_is_the_released_model_s():
    with torch.device("meta"):
        model = XComposer2ForCausalLM(full_size_config())
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_597_499_904


@pytest.mark.skipif(torch.cuda.is_available(), reason="the numbers below are a CPU's")
def test_the_whole_command_on_a_small_model(tmp_path, capsys):
    out = tmp_path / "results" / "small.json"
    options = ["--max-patches", "1", "--repeats", "1", "--new-tokens", "3", "--users", "2", "--out", str(out)]
    assert main(["bench", "--preset", "small", *options]) == 0
    shown = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert result["is_complete"]
    assert result["hardware"] in shown
    assert result["load_average"]["before"] is not None
    names = [figure["name"] for figure in result["figures"]]
    for part in ("plan of", "JPEG", "vision tower", "prefill", "first turn", "second turn", "decode", "2 conversations"):
        assert any(part in name for name in names), part
        assert part in shown
    keys = {f"evidence.speed.figure.{phrase_key(re.sub(r'^HD-[0-9]+ ', '', name))}" for name in names}
    assert all(keys <= texts.keys() for texts in load_strings().values()), "the Evidence tab shows them"
    assert all(figure["value"] > 0 for figure in result["figures"] if "wait" not in figure["name"])
    (overtaken,) = (figure["value"] for figure in result["figures"] if figure["name"].endswith("answered while one waited"))
    assert overtaken in (0, 1), "of two users only the other can be answered meanwhile, once"
    second = next(figure for figure in result["figures"] if "second turn" in figure["name"])
    assert second["ratio"] > 2  # the prefix is reused: nothing of the image is computed again
    ElementTree.fromstring(out.with_suffix(".svg").read_text())
    assert (result["conversations"]["users"], result["conversations"]["pictures"], result["conversations"]["repeats"]) == (
        2,
        2,
        1,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_what_cannot_be_measured_is_said_in_one_sentence(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    refusals = {
        ("--preset", "small", "--out", "some.svg"): "some.svg is where the plot goes",
        ("--preset", "small", "--out", "."): "is a folder; give a file",
        ("--preset", "small", "--out", "a-file/some.json"): "could not be written",
        ("--preset", "small", "--users", "22"): "--users may be 21 at most, not 22, as long as IXC_MAX_WAITING is not raised",
        ("--preset", "full"): "needs an NVIDIA GPU with 24 GB",
        ("--preset", "small", "--model", "ixc-nano"): "give one of them",
        ("--precisions", "bf16"): "goes with --preset",
        ("--repeats", "0"): "--repeats must be at least 1",
        ("--max-patches", "1000"): "max patches must be between",
        ("--preset", "small", "--precisions", "fp64"): "The precision must be one of",
    }
    for options, sentence in refusals.items():
        assert main(["bench", *options]) == 1
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"], "nothing is written while it is asked"


def test_an_interruption_keeps_what_was_measured(tmp_path, monkeypatch, capsys):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(inference, "part_figures", interrupt)
    out = tmp_path / "some.json"
    options = ["--preset", "small", "--precisions", "fp32", "--max-patches", "1", "--repeats", "1", "--out", str(out)]
    assert main(["bench", *options]) == 130
    assert "what was measured so far is kept" in capsys.readouterr().err
    result = json.loads(out.read_text())
    assert not result["is_complete"]
    assert [figure["name"][:4] for figure in result["figures"]] == ["plan", "HD-1", "HD-1"]
