"""A few seconds of what ``python -m ixc.benchmarks.load`` does for minutes."""

from __future__ import annotations

import json

import pytest

from ixc.benchmarks import load
from ixc.benchmarks.app_process import AppProcess
from ixc.benchmarks.load import LoadReport, MemorySample, Tally, report_text, run_load


def test_the_figures_are_written_with_what_was_asked(monkeypatch, tmp_path):
    tallies = (Tally([2.0, 1.0, 3.0], [0.5, 0.25, 0.75], num_refused=4), Tally([1.0], [0.1]))
    memory = tuple(MemorySample(number, 100.0 + number) for number in range(4))
    report = LoadReport("a machine", 2, 8.0, 2, tallies, memory, {"in_line": 0})
    monkeypatch.setattr(load, "run_load", lambda *_: report)
    out = tmp_path / "new" / "load.json"
    assert load.main(["--users", "2", "--seconds", "8", "--max-waiting", "2", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["model"], result["users"], result["seconds"], result["max_waiting"]) == ("ixc-nano", 2, 8, 2)
    assert {"hardware", "date", "load_average"} <= result.keys()
    assert {figure["name"]: figure["value"] for figure in result["figures"]} == {
        "answers": 4,
        "answers a second": 0.5,
        "first words, median": 0.5,
        "first words, p95": 0.75,
        "refused kindly": 4,
        "errors": 0,
        "cross-talk": 0,
        "memory, quarter 1": 100,
        "memory, quarter 2": 101,
        "memory, quarter 3": 102,
        "memory, quarter 4": 103,
        "memory at last": 103,
    }


def test_where_nothing_can_be_written_nothing_is_measured(capsys):
    with pytest.raises(SystemExit):
        load.main(["--out", "."])
    assert "is a folder; give a file" in capsys.readouterr().err


def test_more_users_than_places_get_answers_or_kind_words():
    with AppProcess({"IXC_MODEL": "ixc-nano", "IXC_MAX_WAITING": "2"}) as app:
        assert app.wait_for_model() == "ready"
        report = run_load(app, num_users=6, seconds=4.0, max_waiting=2)
    assert report.complaints == []
    assert report.total("num_refused") + report.total("latencies_s") >= 6
    assert all(tally.worst_place <= 2 for tally in report.tallies)
    assert "errors          0" in report_text(report)


def test_what_went_wrong_is_complained_about():
    tallies = (Tally(latencies_s=[1.0], errors=["ReadTimeout: x"]), Tally(crossed=["'A' instead of 'B'"]))
    leaking = tuple(MemorySample(10 * number, 100.0 * number) for number in range(8))
    report = LoadReport("a machine", 2, 10.0, 2, tallies, leaking, {"in_line": 1})
    assert report.growth_mb == 400.0
    complaints = "\n".join(report.complaints)
    for said in ("ReadTimeout", "cross-talk: 'A' instead of 'B'", "memory grew by 400 MB", "1 places are still taken"):
        assert said in complaints
        assert said in report_text(report)
    assert LoadReport("a machine", 1, 1.0, 2, (Tally(),), (MemorySample(0, 1.0),), {"in_line": 0}).complaints == [
        "nobody was answered"
    ]


def test_what_fills_up_is_told_from_what_leaks():
    """Two quarters a step of 500 questions: one server's caches fill and rest, the other's memory grows by 20 KB a question."""
    filling = [600, 700, 750, 790, 800, 801, 800, 801]
    leaking = [600, 605, 610, 615, 620, 625, 630, 635]
    for resident_mb, medians, rates, is_complained in (
        (filling, "650, 770, 800, 800 MB", "+240.0, +61.0, +0.0 MB per 1000", False),
        (leaking, "602, 612, 622, 632 MB", "+20.0, +20.0, +20.0 MB per 1000", False),
        ([4 * size for size in leaking], "2410, 2450, 2490, 2530 MB", "+80.0, +80.0, +80.0 MB per 1000", True),
    ):
        memory = tuple(MemorySample(250 * number, float(size)) for number, size in enumerate(resident_mb))
        report = LoadReport("a machine", 1, 40.0, 2, (Tally(latencies_s=[1.0]),), memory, {"in_line": 0})
        assert f"{medians}: {rates}" in report_text(report)
        assert bool(report.complaints) == is_complained
