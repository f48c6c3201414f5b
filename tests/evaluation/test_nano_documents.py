"""The held-out documents of ``ixc eval nano``, and how the command refuses what it cannot do."""

import io
import itertools
import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, ImageOps

from ixc.chat.loading import load_engine
from ixc.cli import main
from ixc.evaluation import held_out, nano, other_programs
from ixc.evaluation.held_out import HELD_OUT, KNOWN, make_tasks
from ixc.evaluation.run import weights_fingerprint
from ixc.evaluation.workers import Workers
from ixc.models.presets import NANO
from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.settings import Settings
from ixc.training.fonts import BUILT_IN

SEED = 5
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tasks():
    """Drawn once: they are values."""
    with pytest.MonkeyPatch.context() as patch:
        draw_with_the_built_in_font(patch)
        return make_tasks(48, SEED)


def draw_with_the_built_in_font(patch):
    for name in ("training_fonts", "held_out_fonts"):
        patch.setattr(held_out, name, lambda: (BUILT_IN,))


def test_a_seed_draws_the_same_documents_half_of_them_held_out(tasks, monkeypatch):
    draw_with_the_built_in_font(monkeypatch)
    assert make_tasks(48, SEED) == tasks
    first = [task for task in tasks if task.earlier is None]
    assert [task.group for task in first].count(KNOWN) == [task.group for task in first].count(HELD_OUT) == 24
    upright = [ImageOps.exif_transpose(Image.open(io.BytesIO(task.file))) for task in tasks]
    assert [image.size for image in upright] == [(task.size_px.width, task.size_px.height) for task in tasks]


def test_a_follow_up_is_about_the_document_before_it(tasks):
    follow_ups = [(before, task) for before, task in itertools.pairwise(tasks) if task.earlier]
    assert len(follow_ups) > 10
    for before, task in follow_ups:
        assert task.file == before.file
        assert task.earlier == (before.question, before.answer)


def test_more_tiles_never_make_a_text_too_small(tasks):
    for task in tasks:
        order = [{False: 0, None: 1, True: 2}[task.is_legible(budget)] for budget in nano.BUDGETS]
        assert order == sorted(order)
    assert any(task.is_legible(1) is False for task in tasks)
    assert any(task.is_legible(1) for task in tasks)


def test_figures_are_counted_by_hand(tasks):
    """Three tasks: one right, one declined though legible, one declined rightly with a budget that would do."""
    legible = next(task for task in tasks if task.is_legible(1))
    tiny = next(task for task in tasks if task.is_legible(1) is False and task.is_legible(9))
    answers = iter([legible.answer, nano.asking.too_small(4), nano.asking.too_small(9)])
    given = [legible, replace(legible, name="field"), tiny]
    figures = nano.measure(lambda task, budget: nano.Reading(task, budget, next(answers)), given, [1], lambda _: None)["HD-1"]
    assert figures["all"]["num"] == 3
    assert figures["all"]["exact"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["wrongly_refused"] == 0.5
    assert figures["too_small"] == {"num": 1, "said_so": 1.0, "named_budget_would_do": 1.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-patches", "0"), "must be at least 1, not 0"),
        (("--beams", "3"), "leave --beams out"),
        (("--out", "a-file/results"), "a-file/results cannot be written"),
    ],
)
def test_what_would_fail_at_the_end_is_found_before_anything_is_drawn(options, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    monkeypatch.setattr(held_out, "make_tasks", lambda *_: pytest.fail("documents were drawn"))
    assert main(["eval", "nano", *options]) == 1
    assert words in capsys.readouterr().err


def test_too_few_documents_are_refused_before_anything_is_drawn(capsys):
    assert main(["eval", "nano", "--limit", "3"]) == 1
    assert "at least 12" in capsys.readouterr().err


def test_other_benchmarks_still_need_their_questions(capsys):
    assert main(["eval", "docvqa"]) == 1
    assert "--data" in capsys.readouterr().err


def test_several_processes_answer_as_one_does(tasks):
    """Follow-ups too, whose document's first question another process must not have answered."""
    few = tasks[: next(index for index, task in enumerate(tasks) if index >= 5 and task.earlier is None)]
    settings = Settings(model="ixc-nano")
    with closing(load_engine(settings, measure=False)) as engine:
        alone = [nano.answer_task(engine, task, 1).answer for task in few]
    with Workers(settings, 2) as workers:
        together = list(workers.readings(few, 1))
    assert [reading.answer for reading in together] == alone
    assert [reading.task for reading in together] == few


@pytest.fixture
def counted(monkeypatch, tasks):
    """``ixc eval nano`` about few documents: the budgets asked at, one that Ctrl-C comes at, what others do before each."""
    asked = []

    def readings(self, tasks, budget):
        counted.meanwhile()
        if budget == counted.interrupted_at:
            raise KeyboardInterrupt
        asked.append(budget)
        yield from (nano.Reading(task, budget, task.answer) for task in tasks)

    counted = SimpleNamespace(asked=asked, interrupted_at=None, meanwhile=lambda: None)
    monkeypatch.setattr(Workers, "readings", readings)
    monkeypatch.setattr(held_out, "make_tasks", lambda *_: tasks)
    monkeypatch.setattr(nano, "make_signs", lambda *_: tasks[:3])
    monkeypatch.setattr(other_programs, "make_printed_tasks", lambda *_: [])
    return counted


def test_an_interrupted_evaluation_goes_on_with_the_budgets_that_are_missing(counted, tmp_path):
    command = ["eval", "nano", "--limit", "12", "--out", str(tmp_path)]
    counted.interrupted_at = 9
    assert main(command) == 130
    assert counted.asked == [1, 4]
    counted.interrupted_at = None
    assert main(command) == 0
    assert counted.asked == [1, 4, 9, 16, 25, 1, 4], "the documents' rest, then the signs"
    figures = json.loads((tmp_path / "nano_eval.json").read_text())
    assert {budget: each["all"]["exact"] for budget, each in figures["budgets"].items()} == dict.fromkeys(
        ("HD-1", "HD-4", "HD-9", "HD-16", "HD-25"), 1.0
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nano_eval.json"]


def test_what_others_have_written_into_the_file_stays(counted, tmp_path):
    (tmp_path / "nano_eval.json").write_text(json.dumps({"ablation": {"full": {}}, "num_documents": 3}))
    assert main(["eval", "nano", "--limit", "12", "--max-patches", "4", "--out", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "nano_eval.json").read_text())
    assert figures["ablation"] == {"full": {}}
    assert figures["num_documents"] == 12


def test_what_others_write_while_it_answers_stays_too(counted, tmp_path):
    path = tmp_path / "nano_eval.json"
    path.write_text(json.dumps({"ablation_steps": 1, "kept": True}))
    counted.meanwhile = lambda: path.write_text(json.dumps({"ablation_steps": 2, "kept": True}))
    assert main(["eval", "nano", "--limit", "12", "--max-patches", "4", "--out", str(tmp_path)]) == 0
    figures = json.loads(path.read_text())
    assert (figures["ablation_steps"], figures["kept"], figures["num_documents"]) == (2, True, 12)


def test_a_file_that_cannot_be_added_to_is_found_before_anything_is_asked(counted, capsys, tmp_path):
    (tmp_path / "nano_eval.json").write_text("[]")
    assert main(["eval", "nano", "--limit", "12", "--out", str(tmp_path)]) == 1
    assert "is not what an evaluation wrote" in capsys.readouterr().err
    assert counted.asked == []


@pytest.mark.parametrize("change", ["file", "question", "answer", "order", "resize"])
def test_what_was_measured_with_other_documents_or_pixels_is_measured_again(counted, monkeypatch, tasks, tmp_path, change):
    """Fonts, another LibreOffice or another version of the wording: as many documents from the same seed, but not the same."""
    command = ["eval", "nano", "--limit", "12", "--out", str(tmp_path)]
    monkeypatch.setenv("IXC_RESIZE", "fast")
    counted.interrupted_at = 9
    assert main(command) == 130
    counted.interrupted_at = None
    counted.asked.clear()
    if change == "resize":
        monkeypatch.setenv("IXC_RESIZE", "exact")
    elif change == "order":
        monkeypatch.setattr(held_out, "make_tasks", lambda *_: [tasks[1], tasks[0], *tasks[2:]])
    else:
        other = replace(tasks[-1], **{change: b"another" if change == "file" else "another"})
        monkeypatch.setattr(held_out, "make_tasks", lambda *_: [*tasks[:-1], other])
    assert main(command) == 0
    assert counted.asked == [1, 4, 9, 16, 25, 1, 4]


RESULT = "nano_eval.json"


def eval_nano(folder, *options):
    return main(["eval", "nano", "--limit", "12", "--max-patches", "4", "--out", str(folder), *options])


@pytest.mark.parametrize(
    ("held", "options", "words"),
    [
        ({"model": "other-nano"}, (), "figures of other-nano that differ in: model."),
        ({"num_documents": 1000}, (), "differ in: number of documents."),
        ({"seed": 7}, (), "differ in: seed."),
        ({"precision": "bfloat16"}, (), "differ in: precision."),
        ({}, ("--max-patches", "9"), "differ in: budgets."),
        ({}, ("--limit", "13", "--seed", "1234"), "differ in: number of documents, seed."),
    ],
)
def test_figures_of_another_model_or_of_other_settings_are_not_replaced(counted, capsys, tmp_path, held, options, words):
    assert eval_nano(tmp_path) == 0
    path = tmp_path / RESULT
    path.write_text(json.dumps(json.loads(path.read_text()) | held))
    before = path.read_bytes()
    counted.asked.clear()
    assert eval_nano(tmp_path, *options) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert words in error
    assert "give another --out" in error
    assert path.read_bytes() == before
    assert counted.asked == []


@pytest.mark.parametrize("old", [{"weights": "0" * 64}, {"documents_digest": "of other fonts"}])
def test_better_weights_of_the_same_model_replace_the_figures(counted, tmp_path, old):
    assert eval_nano(tmp_path) == 0
    path = tmp_path / RESULT
    figures = json.loads(path.read_text())
    written_before = {key: value for key, value in figures.items() if key not in ("precision", "resize", "documents_digest")}
    path.write_text(json.dumps(written_before | old))
    assert eval_nano(tmp_path) == 0
    assert json.loads(path.read_text()) == figures


def test_the_result_says_what_it_is_of(counted, tasks, tmp_path):
    assert eval_nano(tmp_path, "--seed", "4321") == 0
    figures = json.loads((tmp_path / RESULT).read_text())
    assert (figures["seed"], figures["precision"], figures["resize"]) == (4321, "float32", Settings().resize)
    assert figures["documents_digest"] == nano.tasks_digest([*tasks, *tasks[:3]])


def test_a_run_leaves_another_one_s_kept_budgets_alone(counted, capsys, tmp_path):
    counted.interrupted_at = 9
    assert main(["eval", "nano", "--limit", "12", "--out", str(tmp_path)]) == 130
    (kept,) = tmp_path.iterdir()
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"stopped: 2 of 7 parts are kept in {kept}, the same command goes on from there"
    )
    content = kept.read_bytes()
    counted.interrupted_at = None
    assert eval_nano(tmp_path, "--limit", "13") == 0
    assert kept.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([kept.name, RESULT])


def test_figures_that_came_meanwhile_stay_and_the_own_ones_are_kept(counted, capsys, tmp_path):
    others = json.dumps({"model": "other-nano", "budgets": {}})
    counted.meanwhile = lambda: (tmp_path / RESULT).write_text(others)
    assert eval_nano(tmp_path) == 1
    assert "differ in: model" in capsys.readouterr().err
    assert (tmp_path / RESULT).read_text() == others
    (kept,) = tmp_path.glob("*.partial.json")
    assert len(json.loads(kept.read_text())["measured"]) == 2
    (tmp_path / RESULT).unlink()
    counted.meanwhile = lambda: pytest.fail("it was asked again")
    assert eval_nano(tmp_path) == 0


@pytest.mark.parametrize("model", ["inf-nano", "vl-7b"])
def test_a_model_that_cuts_no_tiles_is_refused_before_it_is_loaded(counted, capsys, monkeypatch, tmp_path, model):
    monkeypatch.setitem(sys.modules, "ixc.chat.loading", None)
    assert eval_nano(tmp_path, "--model", model) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ixc: {model} cuts no tiles")
    assert "ixc.evaluation.inf_nano" in error


def test_a_seed_that_training_may_have_drawn_from_is_refused(capsys, tmp_path):
    assert eval_nano(tmp_path, "--seed", "41") == 1
    assert "The seed must be at least 1000" in capsys.readouterr().err


def test_a_result_that_is_a_folder_is_found_at_once(counted, capsys, tmp_path):
    (tmp_path / RESULT).mkdir()
    assert eval_nano(tmp_path) == 1
    assert f"{RESULT} cannot be written (Is a directory)" in capsys.readouterr().err


STOPPED = """
import os, signal, sys
from ixc.evaluation import held_out, nano, workers
from ixc.training.fonts import BUILT_IN

for module in (held_out, nano):
    module.training_fonts = module.held_out_fonts = lambda: (BUILT_IN,)

class Stopping(workers.Workers):
    def readings(self, tasks, max_patches):
        readings = super().readings(tasks, max_patches)
        yield next(readings)
        os.killpg(0, signal.SIGINT)  # as a terminal sends it: to the workers too
        yield from readings

workers.Workers = Stopping
from ixc.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_ctrl_c_leaves_one_line_and_no_traceback_of_the_workers(tmp_path):
    command = [sys.executable, "-c", STOPPED, "eval", "nano", "--limit", "12", "--max-patches", "1", "--jobs", "2"]
    command += ["--out", str(tmp_path / "out"), "--model", "ixc-nano"]
    environment = os.environ | {"PATH": str(tmp_path), "IXC_CHROMIUM": "", "OMP_NUM_THREADS": "1"}
    stopped = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, start_new_session=True
    )
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.stderr.rstrip().splitlines()[-1].startswith("stopped: nothing was measured to its end")


def test_parts_of_a_task_do_not_run_into_each_other(tasks):
    first, second = (replace(tasks[0], question=question, answer=answer) for question, answer in (("ab", "c"), ("a", "bc")))
    assert nano.tasks_digest([first]) != nano.tasks_digest([second])


OWN_WEIGHTS = "the model's own"


@pytest.mark.parametrize(
    ("ablation", "words"),
    [
        ({}, None),
        ({"ablation": {"full": {}}, "ablation_weights": OWN_WEIGHTS}, None),
        ({"ablation": {"full": {}}}, "The ablation does not say which weights it is of"),
        ({"ablation": {"full": {}}, "ablation_weights": "0" * 64}, "The ablation is of other weights"),
    ],
)
def test_figures_name_their_weights_and_an_ablation_of_others_is_told(counted, capsys, tmp_path, ablation, words):
    fingerprint = weights_fingerprint(XComposer2ForCausalLM.from_pretrained(NANO.source, dtype="float32"))
    kept = {key: fingerprint if value == OWN_WEIGHTS else value for key, value in ablation.items()}
    (tmp_path / "nano_eval.json").write_text(json.dumps(kept))
    options = ["--model", "ixc-nano", "--limit", "12", "--max-patches", "4", "--out", str(tmp_path)]
    assert main(["eval", "nano", *options]) == 0
    figures = json.loads((tmp_path / "nano_eval.json").read_text())
    assert figures["weights"] == fingerprint
    assert {key: figures[key] for key in kept} == kept
    told = capsys.readouterr().err
    assert "ablation" not in told if words is None else words in told


def test_one_of_the_two_alone_is_nothing_to_warn_of():
    assert nano.ablation_warning({"ablation": {"full": {}}, "ablation_weights": "a"}) is None
    assert nano.ablation_warning({"budgets": {"HD-1": {}}, "weights": "a"}) is None
    old = {"ablation": {"full": {}}, "ablation_weights": "a", "budgets": {"HD-1": {}}}
    assert nano.ablation_warning(old).startswith("The figures by budget do not say which weights")
