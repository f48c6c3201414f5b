"""Reading the benchmarks: our own format, the official folders, the Hub, and what is wrong with any of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ixc.errors import EvaluationError
from ixc.evaluation.datasets import load_dataset
from ixc.evaluation.tasks import FORMULA_GROUP, OCRBENCH_GROUPS, TASKS
from tests.models.hub import REPOSITORY, DownloadHub

QUESTION = {"id": "1", "image": "page.png", "question": "What?", "answers": ["this"]}


def put_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(path)
    return path


def put_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def load(name: str, split: str, folder: Path):
    return load_dataset(TASKS[name], split, str(folder)).samples


# --- our own format -----------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    """Write lines of our own format and load them as ``name``."""
    put_image(tmp_path / "page.png")

    def write_and_load(*lines: object, name: str = "docvqa"):
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        (tmp_path / f"{name}-{TASKS[name].default_split}.jsonl").write_text(text, encoding="utf-8")
        return load(name, TASKS[name].default_split, tmp_path)

    return write_and_load


def test_own_format(own, tmp_path):
    (first, second) = own(QUESTION, "", QUESTION | {"id": 2, "question": "两?\u2028", "answers": [3, "drei"], "group": "human"})
    assert (first.id, first.image, first.question, first.answers) == ("1", tmp_path / "page.png", "What?", ("this",))
    assert (second.id, second.question, second.answers, second.group) == ("2", "两?\u2028", ("3", "drei"), "human")
    assert load("docvqa", "val", tmp_path / "docvqa-val.jsonl") == (first, second)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([QUESTION, '{"id": "2", "image'], "line 2 of .*jsonl is not valid JSON"),
        ([QUESTION, "[" * 100_000], "line 2 .* is not valid JSON"),
        ([QUESTION, ["id"]], "line 2 .* has no usable 'image'"),
        ([QUESTION | {"question": None}], "line 1 .* has no usable 'question'"),
        ([QUESTION | {"answers": {"a": 1}}], "has 'answers' that are not texts"),
        ([QUESTION, QUESTION], "Two questions .* have the id '1'"),
        ([QUESTION, QUESTION | {"id": "2", "answers": []}], "The question '2' .* has no answers while others have"),
        ([QUESTION, QUESTION | {"id": "2", "image": "gone.png"}], "no image .*gone.png for the question '2'; add the images"),
        ([""], "There are no questions"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(own, lines, complaint):
    with pytest.raises(EvaluationError, match=complaint) as caught:
        own(*lines)
    assert "\n" not in str(caught.value)


def test_what_a_metric_needs_is_checked_before_hours_of_answering(own):
    with pytest.raises(EvaluationError, match="has 1 answers; TextVQA's metric needs 10"):
        own(QUESTION, name="textvqa")
    with pytest.raises(EvaluationError, match="has no group, and ChartQA averages over groups"):
        own(QUESTION, name="chartqa")
    with pytest.raises(EvaluationError, match="has the group 'Human'; ChartQA has human and augmented"):
        own(QUESTION | {"group": "Human"}, name="chartqa")
    with pytest.raises(EvaluationError, match="has no group, and OCRBench scores 'Handwritten Mathematical"):
        own(QUESTION, name="ocrbench")


def test_a_part_of_a_benchmark_is_not_the_benchmark(own):
    with pytest.raises(EvaluationError, match=r"no question of the group augmented in .* not be that of ChartQA"):
        own(QUESTION | {"group": "human"}, name="chartqa")
    whole = [QUESTION | {"id": str(index), "group": group} for index, group in enumerate(OCRBENCH_GROUPS)]
    assert len(own(*whole, name="ocrbench")) == len(set(OCRBENCH_GROUPS)) == 10
    with pytest.raises(EvaluationError, match="no question of the group Regular Text Recognition and Irregular Text"):
        own(*whole[2:], name="ocrbench")


def test_a_formula_of_a_misspelt_group_is_not_scored_as_text(own):
    with pytest.raises(EvaluationError, match=f"has the group 'Formula'; OCRBench has Regular .* and {FORMULA_GROUP}"):
        own(QUESTION | {"group": "Formula"}, name="ocrbench")


def test_a_file_that_is_not_text_or_not_there(tmp_path):
    (tmp_path / "docvqa-val.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvaluationError, match="is not text"):
        load("docvqa", "val", tmp_path)
    with pytest.raises(EvaluationError, match=r"There is no .*nowhere; give a folder, a \.jsonl file, or owner/name"):
        load("docvqa", "val", tmp_path / "nowhere")
    put_json(tmp_path / "val_v1.0.json", {})
    with pytest.raises(EvaluationError, match=r"not a \.jsonl file; for a benchmark's own files give the folder"):
        load("docvqa", "val", tmp_path / "val_v1.0.json")


# --- official folders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "image"),
    [
        ("val/val_v1.0.json", "val/documents/xnbl0037_1.png"),  # the archive of 2020
        ("spdocvqa_qas/val_v1.0_withQT.json", "spdocvqa_images/xnbl0037_1.png"),  # the archives of 2023
        ("val_v1.0_withQT.json", "documents/xnbl0037_1.png"),
    ],
)
def test_docvqa(tmp_path, annotation, image):
    path = put_image(tmp_path / image)
    record = {
        "questionId": 337,
        "question": "what is the date mentioned in this letter?",
        "image": "documents/xnbl0037_1.png",
        "docId": 279,
        "answers": ["1/8/93"],
        "data_split": "val",
    }
    put_json(tmp_path / annotation, {"dataset_name": "SP-DocVQA", "dataset_split": "val", "data": [record]})
    (sample,) = load("docvqa", "val", tmp_path)
    assert sample.image == path
    assert (sample.id, sample.question, sample.answers) == ("337", record["question"], ("1/8/93",))


def test_the_test_split_has_no_answers(tmp_path):
    put_image(tmp_path / "test" / "documents" / "a.png")
    record = {"questionId": 1, "question": "?", "image": "documents/a.png"}
    put_json(tmp_path / "test" / "test_v1.0.json", {"data": [record]})
    assert not load_dataset(TASKS["docvqa"], "test", str(tmp_path)).has_answers


def test_infographicvqa(tmp_path):
    path = put_image(tmp_path / "infographicsvqa_images" / "20471.jpeg")
    record = {"questionId": 98313, "question": "Which?", "image_local_name": "20471.jpeg", "answers": ["a, b", "b, a"]}
    put_json(tmp_path / "infographicsVQA_val_v1.0_withQT.json", {"data": [record]})
    (sample,) = load("infovqa", "val", tmp_path)
    assert (sample.id, sample.image, sample.answers) == ("98313", path, ("a, b", "b, a"))


@pytest.mark.parametrize("root", ["", "ChartQA Dataset"])
def test_chartqa(tmp_path, root):
    path = put_image(tmp_path / root / "test" / "png" / "166.png")
    for group, label in (("human", "62"), ("augmented", "Yes")):
        record = {"imgname": "166.png", "query": f"{group}?", "label": label}
        put_json(tmp_path / root / "test" / f"test_{group}.json", [record, record])
    samples = load("chartqa", "test", tmp_path)
    assert [(s.id, s.question, s.answers, s.group) for s in samples[1:3]] == [
        ("human-1", "human?", ("62",), "human"),
        ("augmented-0", "augmented?", ("Yes",), "augmented"),
    ]
    assert {sample.image for sample in samples} == {path}


def test_chartqa_with_one_half_missing(tmp_path):
    put_json(tmp_path / "test" / "test_human.json", [])
    with pytest.raises(EvaluationError, match=r"test_augmented\.json could not be read"):
        load("chartqa", "test", tmp_path)


def test_textvqa(tmp_path):
    path = put_image(tmp_path / "train_images" / "003a8ae2ef43b901.jpg")
    answers = ["nokia"] * 7 + ["toshiba"] * 3
    record = {"question_id": 34602, "image_id": "003a8ae2ef43b901", "question": "brand?", "answers": answers}
    put_json(tmp_path / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": [record]})
    (sample,) = load("textvqa", "val", tmp_path)
    assert (sample.id, sample.image, sample.answers) == ("34602", path, tuple(answers))


def test_ocrbench(tmp_path):
    word = put_image(tmp_path / "OCRBench_Images" / "IIIT5K" / "test" / "918_1.png")
    formula = put_image(tmp_path / "OCRBench_Images" / "HME100k" / "2.jpg")
    records = [
        {"dataset_name": "IIIT5K", "id": 7, "image_path": "IIIT5K/test/918_1.png", "type": "Regular Text Recognition"},
        {"dataset_name": "HME100k", "id": 7, "image_path": "HME100k/2.jpg", "type": FORMULA_GROUP},
    ]
    rest = [{"image_path": "HME100k/2.jpg", "type": group} for group in OCRBENCH_GROUPS[1:] if group != FORMULA_GROUP]
    for record, answers in zip(records, ("CENTRE", ["x^2"]), strict=True):
        record |= {"question": "what is written in the image?", "answers": answers}
    put_json(tmp_path / "OCRBench.json", [*records, *(each | {"question": "?", "answers": ["a"]} for each in rest)])
    first, second, *_ = load("ocrbench", "test", tmp_path)
    assert (first.image, first.answers, first.group) == (word, ("CENTRE",), "Regular Text Recognition")
    assert (second.image, second.answers, second.group) == (formula, ("x^2",), FORMULA_GROUP)
    assert first.id != second.id
    assert TASKS["ocrbench"].score("X^ 2", second) == 0
    assert TASKS["ocrbench"].score("x^ 2", second) == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[1, 2", "file .*OCRBench.json is not valid JSON .*line 1 column"),
        ('{"data": []}', "does not hold a list of questions"),
        ("[1]", "does not hold a list of questions"),
        ("[]", "There are no questions"),
        ('[{"image_path": "a.png", "question": "?"}]', "question 0 of .*OCRBench.json has no usable 'type'"),
    ],
)
def test_what_is_wrong_with_an_official_file_is_said(tmp_path, content, complaint):
    (tmp_path / "OCRBench.json").write_text(content)
    with pytest.raises(EvaluationError, match=complaint):
        load("ocrbench", "test", tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_a_folder_without_the_benchmark_says_what_it_must_hold(tmp_path, name):
    split = TASKS[name].default_split
    with pytest.raises(EvaluationError, match=f"it must hold {name}-{split}.jsonl or .*json"):
        load(name, split, tmp_path)


# --- the Hub ------------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from ixc.errors import EvaluationError
from ixc.evaluation.datasets import load_dataset
from ixc.evaluation.tasks import TASKS
try:
    (sample,) = load_dataset(TASKS["docvqa"], "val", sys.argv[1]).samples
except EvaluationError as error:
    sys.exit(f"error: {error}")
print(sample.id, sorted(path.name for path in sample.image.parent.iterdir()))
"""


def test_a_data_set_on_the_hub_comes_without_its_code_and_serves_offline(tmp_path):
    image = put_image(tmp_path / "page.png").read_bytes()
    lines = json.dumps(QUESTION).encode()
    hub = DownloadHub({"docvqa-val.jsonl": lines, "page.png": image, "loader.py": b"raise SystemExit", "a.parquet": b"PAR1"})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = kept | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}

    def run(name: str):
        command = [sys.executable, "-c", PROGRAM, name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    expected = "1 ['docvqa-val.jsonl', 'page.png']\n"
    try:
        online = run(REPOSITORY)
        assert (online.stdout, online.returncode) == (expected, 0), online.stderr
        assert "There is no public data set someone/else" in run("someone/else").stderr
    finally:
        hub.close()
    offline = run(REPOSITORY)
    assert offline.stdout == expected, offline.stderr
    assert "The Hub cannot be reached and someone/else is not whole" in run("someone/else").stderr
