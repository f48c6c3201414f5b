"""``ixc eval`` as a user meets it, with a real model: answers, interruption, kill, changed settings, bad data."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ixc.cli import main
from ixc.evaluation import tasks
from ixc.evaluation.answering import ReferenceAnswerer

ROOT = Path(__file__).parents[2]
NUM_TOKENS = 3

KILLED_AT_THE_FOURTH = f"""
import os, signal, sys
from dataclasses import replace
from ixc.cli import main
from ixc.evaluation import tasks
from ixc.evaluation.answering import ReferenceAnswerer
tasks.REFERENCE_GENERATION = replace(tasks.REFERENCE_GENERATION, max_new_tokens={NUM_TOKENS})
answer, num_asked = ReferenceAnswerer.answer, 0

def answer_three(*args):
    global num_asked
    num_asked += 1
    if num_asked == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(*args)

ReferenceAnswerer.answer = answer_three
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr(tasks, "REFERENCE_GENERATION", replace(tasks.REFERENCE_GENERATION, max_new_tokens=NUM_TOKENS))


@pytest.fixture
def arguments(checkpoint, docvqa, tmp_path):
    def make(*more: object, benchmark: str = "docvqa", data: object = docvqa) -> list[str]:
        common = (benchmark, "--data", data, "--model", checkpoint, "--max-patches", 1, "--out", tmp_path / "out")
        return ["eval", *map(str, (*common, *more))]

    return make


@pytest.fixture
def asked(monkeypatch):
    """The questions that reach the model."""
    questions, answer = [], ReferenceAnswerer.answer

    def remember(self, image, question):
        questions.append((image.name, question))
        return answer(self, image, question)

    monkeypatch.setattr(ReferenceAnswerer, "answer", remember)
    return questions


def predictions(folder: Path) -> dict[str, str]:
    """Of the only run in ``folder``."""
    (path,) = folder.glob("*/predictions.jsonl")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    answers = {record["id"]: record["answer"] for record in records}
    assert len(answers) == len(records), "a question was answered twice"
    return answers


def test_a_run_prints_its_table_writes_its_result_and_is_not_repeated(arguments, asked, capsys, tmp_path):
    assert main(arguments()) == 0
    out, err = capsys.readouterr()
    assert out.startswith("DocVQA val: ANLS, percent\n\n  this run: ")
    assert "HD-1, 3 beams" in out
    assert "4KHD 7B, paper " in out
    assert out.rstrip().endswith("6 questions; ± is the standard error of the mean.")
    assert "0 of 6 questions are answered" in err
    assert "100%" in err, "the progress bar"
    (folder,) = (tmp_path / "out").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["num_questions"] == 6
    assert [image for image, _ in asked] == ["img_landscape.png"] * 3 + ["img_portrait.png"] * 3
    first_answers = predictions(tmp_path / "out")
    assert len(first_answers) == 6
    assert all(first_answers.values())

    asked.clear()
    assert main(arguments()) == 0
    assert asked == []
    assert capsys.readouterr().out == out


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(arguments, asked, capsys, tmp_path):
    command = [sys.executable, "-c", KILLED_AT_THE_FOURTH, *arguments()]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kept = predictions(tmp_path / "out")
    assert len(kept) == 3
    # What a kill in the middle of writing leaves: the last line without its end.
    (path,) = (tmp_path / "out").glob("*/predictions.jsonl")
    path.write_bytes(path.read_bytes()[:-7])

    assert main(arguments()) == 0
    assert "2 of 6 questions are answered" in capsys.readouterr().err
    assert len(asked) == 4
    resumed = predictions(tmp_path / "out")
    assert main(arguments("--out", tmp_path / "whole")) == 0
    assert resumed == predictions(tmp_path / "whole")
    assert kept.items() <= resumed.items()


def test_ctrl_c_says_how_to_go_on(arguments, capsys, monkeypatch, tmp_path):
    answer = ReferenceAnswerer.answer
    calls = iter(range(100))

    def interrupted(*args):
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return answer(*args)

    monkeypatch.setattr(ReferenceAnswerer, "answer", interrupted)
    assert main(arguments()) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.rstrip().endswith("stopped: 2 of 6 answers are kept, the same command goes on from there")
    assert len(predictions(tmp_path / "out")) == 2
    assert not list((tmp_path / "out").glob("*/result.json"))
    assert main(arguments()) == 0
    assert len(predictions(tmp_path / "out")) == 6


def test_other_settings_are_another_run_and_a_larger_limit_is_the_same(arguments, asked, capsys, tmp_path):
    assert main(arguments("--limit", 2)) == 0
    assert "2 of 6 questions;" in capsys.readouterr().out
    assert main(arguments("--limit", 3)) == 0
    assert len(asked) == 3
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert main(arguments("--limit", 2, "--beams", 1)) == 0
    assert "HD-1, greedy" in capsys.readouterr().out
    assert len(asked) == 5
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.fixture
def chartqa(tmp_path) -> Path:
    """The official folder: four questions people wrote, in a file before the two that a program wrote."""
    folder = tmp_path / "chartqa"
    (folder / "test" / "png").mkdir(parents=True)
    Image.new("RGB", (40, 30), "white").save(folder / "test" / "png" / "1.png")
    for group, num in (("human", 4), ("augmented", 2)):
        records = [{"imgname": "1.png", "query": f"{group} {index}?", "label": "yes"} for index in range(num)]
        (folder / "test" / f"test_{group}.json").write_text(json.dumps(records))
    return folder


def test_a_limit_takes_from_every_group_in_turn_and_a_larger_one_only_adds(arguments, asked, capsys, chartqa, tmp_path):
    """The score is the mean over the groups: of the first file's questions alone it would be half of it."""
    in_turn = ["human 0?", "augmented 0?", "human 1?", "augmented 1?", "human 2?", "human 3?"]
    for limit, num_human, num_augmented in ((2, 1, 1), (3, 2, 1), (5, 3, 2)):
        assert main(arguments("--limit", limit, benchmark="chartqa", data=chartqa)) == 0
        assert sorted(question for _, question in asked) == sorted(in_turn[:limit])
        shown = capsys.readouterr().out
        assert f"human ({num_human})" in shown
        assert f"augmented ({num_augmented})" in shown
    assert main(arguments("--limit", 99, benchmark="chartqa", data=chartqa)) == 0
    assert sorted(question for _, question in asked) == sorted(in_turn), "each once"
    (path,) = (tmp_path / "out").glob("*/result.json")
    result = json.loads(path.read_text())
    assert {name: group["num_questions"] for name, group in result["groups"].items()} == {"human": 4, "augmented": 2}


@pytest.fixture
def failure(arguments, capsys, monkeypatch):
    """Run a command that must fail in one line, before any model is loaded."""
    monkeypatch.setitem(sys.modules, "ixc.chat.loading", None)  # importing it now fails

    def run_and_read(*more: object, **changes: object) -> str:
        assert main(arguments(*more, **changes)) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("ixc: ")
        assert err.count("\n") == 1
        return err.removeprefix("ixc: ").rstrip()

    return run_and_read


def test_mistakes_are_found_before_a_model_is_loaded(failure, docvqa, tmp_path):
    assert failure("--beams", 9).startswith("The number of beams (num_beams) must be between 1 and 8")
    assert failure("--max-patches", 0) == "The max patches must be at least 1, not 0."
    sentence = "inf-nano is an INF-LLaVA model; this command runs InternLM-XComposer2 models only."
    assert failure("--model", "inf-nano") == sentence
    assert failure("--limit", 0) == "The limit must be at least 1, not 0."
    assert failure("--split", "train").startswith("DocVQA has no split 'train' here")
    known = "docvqa, chartqa, infovqa, textvqa, ocrbench, nano"
    assert failure(benchmark="mmbench") == f"There is no benchmark 'mmbench'; choose one of: {known}."
    assert failure("--jobs", 4) == "DocVQA is answered by one process; --jobs is for nano, leave it out."
    assert failure(data=tmp_path / "nowhere").startswith("There is no ")
    assert "it must hold chartqa-test.jsonl or test/test_human.json" in failure(benchmark="chartqa")

    (docvqa / "images" / "img_portrait.png").unlink()
    message = failure()
    assert "images/img_portrait.png for the question 'img_portrait-0', and 2 more questions lack theirs" in message
    with (docvqa / "docvqa-val.jsonl").open("a") as file:
        file.write('{"id": "7", "ima')
    assert failure().startswith("The line 7 of ")


def test_the_papers_pixels_are_used_whatever_the_app_uses(arguments, monkeypatch):
    ways, answer = [], ReferenceAnswerer.answer

    def remember(self, image, question):
        ways.append(self._processor.image_processor.is_exact)
        return answer(self, image, question)

    monkeypatch.setattr(ReferenceAnswerer, "answer", remember)
    monkeypatch.setenv("IXC_RESIZE", "fast")
    assert main(arguments("--limit", 2)) == 0
    assert ways == [True, True]


def test_a_damaged_image_costs_its_own_questions_and_is_told_at_the_end(arguments, capsys, docvqa, tmp_path):
    path = docvqa / "images" / "img_landscape.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert main(arguments()) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == (
        "ixc: 3 of 6 questions are not answered; the others are kept, and the same command asks what is missing. "
        f"The image {path} cannot be opened; copy or download it again."
    )
    assert "3 of 6 questions;" in out
    assert "3 could not be asked, because their image cannot be opened" in out
    (result,) = (tmp_path / "out").glob("*/result.json")
    assert json.loads(result.read_text())["unanswered"] == [f"img_landscape-{number}" for number in range(3)]
    assert len(predictions(tmp_path / "out")) == 3
    path.write_bytes(whole)
    assert main(arguments()) == 0
    out, err = capsys.readouterr()
    assert "3 of 6 questions are answered" in err
    assert "could not be asked" not in out
    assert json.loads(result.read_text())["unanswered"] == []


def test_without_any_image_that_opens_there_is_no_score(arguments, capsys, docvqa):
    for path in (docvqa / "images").iterdir():
        path.write_bytes(b"")
    assert main(arguments()) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].endswith("cannot be opened; copy or download it again.")


def test_a_split_without_answers_leaves_a_submission(arguments, capsys, docvqa, tmp_path):
    records = [json.loads(line) for line in (docvqa / "docvqa-val.jsonl").read_text().splitlines()]
    lines = [json.dumps({**record, "id": index, "answers": []}) for index, record in enumerate(records)]
    (docvqa / "docvqa-test.jsonl").write_text("\n".join(lines))
    assert main(arguments("--split", "test")) == 0
    assert "send submission.json" in capsys.readouterr().out
    (path,) = (tmp_path / "out").glob("*/submission.json")
    answers = predictions(tmp_path / "out")
    assert json.loads(path.read_text()) == [{"questionId": index, "answer": answers[str(index)]} for index in range(6)]


def test_help_names_the_benchmarks():
    command = [sys.executable, "-m", "ixc", "eval", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    assert all(name in text for name in tasks.TASKS)
