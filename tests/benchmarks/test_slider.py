"""What ``python -m ixc.benchmarks.slider`` writes."""

import json

import pytest

from ixc.benchmarks import slider


@pytest.mark.parametrize("browser_ms", [[60.0, 160.0, 70.0], None])
def test_the_figures_are_written_and_what_has_a_limit_says_whether_it_is_kept(monkeypatch, tmp_path, browser_ms):
    """The app is the real one, the moves are not."""
    monkeypatch.setattr(slider, "measure_http", lambda *_: ([10.0, 30.0, 20.0], [8_000, 9_000, 21_000]))
    monkeypatch.setattr(slider, "measure_browser", lambda *_: browser_ms)
    monkeypatch.setattr(slider, "test_picture", bytes)
    out = tmp_path / "new" / "slider.json"
    assert slider.main(["--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["model"], result["image"], result["moves"]) == ("ixc-nano", "3840x2160", 3)
    assert {"hardware", "date", "load_average"} <= result.keys()
    in_browser = [("browser, median", 70, "ms", None), ("browser, p95", 160, "ms", False)]
    assert [(each["name"], each["value"], each["unit"], each["is_met"]) for each in result["figures"]] == [
        ("HTTP, median", 20, "ms", None),
        ("HTTP, p95", 30, "ms", None),
        *(in_browser if browser_ms else []),
        ("on the wire, median", 9, "KB", None),
        ("on the wire, largest", 21, "KB", False),
    ]


def test_where_nothing_can_be_written_nothing_is_measured(capsys):
    with pytest.raises(SystemExit):
        slider.main(["--out", "."])
    assert "is a folder; give a file" in capsys.readouterr().err
