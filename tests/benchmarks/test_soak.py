"""What ``python -m ixc.benchmarks.soak`` says of an app that answers, of one that never does, and of one that grows."""

from __future__ import annotations

import pytest

from ixc.benchmarks import soak

ANSWERED = {"question": "?", "answer": "EXIT", "error": None}
FAILED = {"question": "?", "answer": "", "error": {"code": "ModelNotReady", "detail": "..."}}
HALF = {"question": "?", "answer": "EX", "error": {"code": "BackendLost", "detail": "..."}}


class App:
    """In the place of the app's process: nothing is ever left over, and memory grows by ``growth_mb`` each time it is read."""

    growth_mb = 0.0

    def __init__(self, env=None):
        self.url, self._resident_mb = "http://nowhere", 500.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait_for_model(self):
        return "ready"

    def status(self):
        return {"sessions": {"open": 0}, "engine": {"requests": 0, "model_bytes": 7}, "in_line": 0}

    def resident_bytes(self):
        self._resident_mb += self.growth_mb
        return self._resident_mb * 1e6


class Page:
    """In the place of a tab: every question ends with ``last``, the whole last exchange or None for a stream that broke off."""

    last: object = ANSWERED

    def __init__(self, url):
        pass

    def ask(self, question):
        def transcript(exchanges, live):
            return {"exchanges": exchanges, "live": live, "error": None}

        yield transcript([], {"text": ""})
        yield transcript([], {"text": "EX"})
        if self.last is not None:
            yield transcript([self.last], None)

    def upload(self, name, data): ...

    def move_slider(self, max_patches): ...

    def set_value(self, elem_id, value): ...

    def stop(self): ...

    def close(self): ...


@pytest.fixture
def run(monkeypatch, capsys):
    """Exit code and text of twelve visits, four of which wait for the end."""
    monkeypatch.setattr(soak, "AppProcess", App)
    monkeypatch.setattr(soak, "PageClient", Page)

    def run_with(last=ANSWERED, growth_mb=0.0):
        monkeypatch.setattr(Page, "last", last)
        monkeypatch.setattr(App, "growth_mb", growth_mb)
        return soak.main(["--chats", "12", "--users", "2"]), capsys.readouterr().out

    return run_with


def test_answers_and_even_memory_are_a_success(run):
    code, text = run()
    assert code == 0
    assert "answered: 4 of the 4 that waited" in text
    assert "NO" not in text


@pytest.mark.parametrize("last", [FAILED, HALF, {**ANSWERED, "answer": ""}, None])
def test_visits_that_wait_and_are_not_answered_are_a_failure(run, last):
    code, text = run(last)
    assert code == 1
    assert "NO  4 of 4 visits that waited for their answer got none" in text


def test_growth_decides_too(run):
    """Memory is read after each of the twelve visits: five times after the reading in the middle."""
    limit_mb = soak.MAX_GROWTH_MB
    assert run(growth_mb=(limit_mb - 1) / 5)[0] == 0
    code, text = run(growth_mb=(limit_mb + 1) / 5)
    assert code == 1
    assert f"NO  memory grew by {limit_mb + 1:.0f} MB in the second half; {limit_mb:.0f} are allowed" in text
