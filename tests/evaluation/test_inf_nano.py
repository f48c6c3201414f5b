"""What counts as legible to INF-LLaVA, and the figures of both models' answers about the same documents."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch

from ixc.evaluation import inf_nano
from ixc.evaluation.held_out import KNOWN, Task
from ixc.evaluation.inf_nano import as_inf_task, document_figures
from ixc.evaluation.nano import Reading, tasks_digest
from ixc.evaluation.run import weights_fingerprint
from ixc.tiling import SizePx
from ixc.training import asking


def _task(smallest_px: float | None) -> Task:
    return Task(b"", SizePx(400, 1008), "field", "Total?", "Total: 5", KNOWN, smallest_px)


@pytest.mark.parametrize(
    ("smallest_px", "at_336", "at_1008"),
    # 14 pixels of 336 are 42 of 1008, doubtful from 33.6; at 1008 half a token of 42 pixels, 21, doubtful from 16.8.
    [(43, True, True), (34, None, True), (33, False, True), (22, False, True), (17, False, None), (16, False, False)],
)
def test_legibility_is_that_of_the_padded_square(smallest_px, at_336, at_1008):
    task = as_inf_task(_task(smallest_px))
    assert (task.is_legible(1), task.is_legible(9)) == (at_336, at_1008)
    assert as_inf_task(_task(None)).is_legible(1)


def test_figures_of_answers_at_one_input():
    """By hand: of three legible ones one is right and one refused; of two tiny ones one is refused, in other words."""
    legible, tiny = as_inf_task(_task(50)), as_inf_task(_task(10))
    answers = [(legible, "Total: 5"), (legible, "Total: 6"), (legible, asking.TOO_SMALL), (tiny, asking.TOO_SMALL_AT_336)]
    figures = document_figures([*(Reading(task, 1, answer) for task, answer in answers), Reading(tiny, 1, "Total: 5")])
    assert figures["all"]["exact"] == figures["known"]["exact"] == figures["tasks"]["field"]["exact"] == 0.4
    assert figures["legible"]["exact"] == 0.3333
    assert figures["too_small"] == {"num": 2, "said_so": 0.5}
    assert figures["wrongly_refused"] == 0.3333


def weights_of(value: float) -> torch.nn.Module:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, value)
    return model


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The command on two signs and a document, without the models: what was asked, and the question that Ctrl-C comes at."""
    sign, document = (Task(b"", SizePx(400, 400), name, "?", "EXIT", KNOWN, 200) for name in ("sign", "field"))

    def load_engine(settings):
        loaded.append(settings.model)
        return SimpleNamespace(runner=SimpleNamespace(model=weights_of(command.weight)), close=lambda: None)

    def answer_task(engine, task, max_patches):
        if len(command.asked) == command.interrupted_at:
            raise KeyboardInterrupt
        command.asked.append((loaded[-1], task.name, max_patches))
        return Reading(task, max_patches, "EXIT")

    def command(*options):
        return inf_nano.main(["--num", "2", "--documents", "13", "--out", str(command.out), *options])

    loaded = []
    command.asked, command.interrupted_at, command.weight, command.out = [], None, 1.0, tmp_path / "new" / "inf_nano_eval.json"
    command.tasks = [sign, sign, document]
    monkeypatch.setattr(inf_nano, "load_engine", load_engine)
    monkeypatch.setattr(inf_nano, "answer_task", answer_task)
    monkeypatch.setattr(inf_nano, "make_signs", lambda *_: [sign, sign])
    monkeypatch.setattr(inf_nano, "make_tasks", lambda *_: [document])
    return command


IN_ORDER = [
    *(("inf-nano", "sign", budget) for budget in (1, 1, 9, 9)),
    *(("inf-nano", "field", budget) for budget in (1, 9)),
    *(("ixc-nano", "sign", budget) for budget in (1, 1, 4, 4)),
    *(("ixc-nano", "field", budget) for budget in (1, 4, 9)),
]


def test_an_interrupted_run_keeps_every_input_that_it_has_finished(measured, caplog):
    measured.interrupted_at = 3
    assert measured() == 130
    (kept,) = measured.out.parent.iterdir()
    assert f"stopped: 1 of 9 parts are kept in {kept}, the same command goes on from there" in caplog.text
    measured.interrupted_at = None
    assert measured() == 0
    assert measured.asked == [*IN_ORDER[:3], *IN_ORDER[2:]], "only the input that was not finished is begun again"
    assert list(measured.out.parent.iterdir()) == [measured.out]
    figures = json.loads(measured.out.read_text())
    assert {"model", "seed", "inputs", "budgets", "ixc-nano", "documents"} <= figures.keys()
    assert figures["weights"] == dict.fromkeys(("inf-nano", "ixc-nano"), weights_fingerprint(weights_of(1.0)))
    assert figures["documents_digest"] == tasks_digest(measured.tasks)
    assert figures["inputs"] == {"HD-1": "336 px", "HD-9": "1008 px"}
    assert figures["budgets"]["HD-9"]["all"] == {"num": 2, "exact": 1.0, "exact_strict": 1.0, "character_error_rate": 0.0}
    assert list(figures["documents"]) == ["num_documents", "inf-nano", "ixc-nano"]
    assert figures["documents"]["ixc-nano"]["HD-4"]["all"]["num"] == 1


def test_other_weights_are_measured_again(measured):
    measured.interrupted_at = 3
    assert measured() == 130
    measured.interrupted_at, measured.weight = None, 2.0
    assert measured() == 0
    assert measured.asked[3:] == IN_ORDER
    weights = json.loads(measured.out.read_text())["weights"]
    assert weights == dict.fromkeys(("inf-nano", "ixc-nano"), weights_fingerprint(weights_of(2.0)))


def test_what_would_fail_at_the_end_is_found_before_anything_is_drawn(measured, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(inf_nano, "make_signs", lambda *_: pytest.fail("signs were drawn"))
    with caplog.at_level(logging.ERROR):
        assert measured("--out", str(tmp_path)) == 1
    assert "cannot be written (Is a directory)" in caplog.text


@pytest.mark.parametrize("options", [("--documents", "12"), ("--num", "1")])
def test_documents_that_are_all_in_known_type_are_too_few(measured, capsys, options):
    with pytest.raises(SystemExit):
        measured(*options)
    assert "documents 13, one of each in type that training never saw" in capsys.readouterr().err
