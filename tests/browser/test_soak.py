"""Visits that end in every way leave nothing behind. ``python -m ixc.benchmarks.soak`` does the same two hundred times."""

from __future__ import annotations

import pytest

from ixc.benchmarks.app_process import AppProcess
from ixc.benchmarks.soak import run_soak

NUM_CHATS = 30


@pytest.mark.slow
def test_visits_leave_nothing_behind(chat_checkpoint):
    with AppProcess({"IXC_MODEL": str(chat_checkpoint)}) as own_app:
        assert own_app.wait_for_model() == "ready"
        report = run_soak(own_app, NUM_CHATS)
        assert report.num_answered == report.endings["finish"] == NUM_CHATS / 3, own_app.log()[-2000:]
        assert report.leftovers == {}
        assert report.complaints == [], report.resident_mb
        assert not [line for line in own_app.log().splitlines() if "Traceback" in line]
        assert not list(own_app.uploads_path.rglob("*.png"))
