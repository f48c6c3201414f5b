"""The shipped small INF-LLaVA, asked as the app asks. The floors are below what was measured (10 of 20), not below chance."""

import json
from pathlib import Path

import pytest

from ixc.chat.loading import load_engine
from ixc.evaluation.nano import answer_task, read_file
from ixc.models.presets import find_model
from ixc.settings import Settings
from ixc.training.asking import NO_TEXT, NOT_THERE, TOO_SMALL

SIGNS = Path(__file__).parents[1] / "data" / "signs"
FOLDER = find_model("inf-nano").source
TRAINED_INPUT = 9
"""The budget that stands for 1008 pixels."""


@pytest.fixture(scope="module")
def readings():
    rows = json.loads((SIGNS / "signs.json").read_text(encoding="utf-8"))[::2]
    engine = load_engine(Settings(model="inf-nano"))
    try:
        tasks = [read_file(SIGNS / row["file"], row["question"], row["text"]) for row in rows]
        return [answer_task(engine, task, TRAINED_INPUT) for task in tasks]
    finally:
        engine.close()


def test_it_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 25_000_000


def test_it_reads_a_third_of_unseen_signs_exactly(readings):
    assert sum(reading.is_exact for reading in readings) >= 7


def test_most_characters_of_unseen_signs_are_right_where_it_finds_any(readings):
    answered = [reading for reading in readings if not reading.answer.startswith((NOT_THERE, NO_TEXT, TOO_SMALL))]
    assert len(answered) >= 13
    num_wrong = sum(reading.character_errors for reading in answered)
    assert num_wrong < 0.25 * sum(len(reading.task.answer) for reading in answered)
