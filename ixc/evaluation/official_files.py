"""The benchmarks' own folders, as they come out of the official archives.

DocVQA (rrc.cvc.uab.es, ch=17, task 1): {split}_v1.0_withQT.json or {split}_v1.0.json; documents/ or spdocvqa_images/
InfographicVQA (the same, task 3): infographicsVQA_{split}_v1.0_withQT.json or without QT; infographicsvqa_images/
ChartQA (github.com/vis-nlp/ChartQA): test/test_human.json and test/test_augmented.json; test/png/
TextVQA (textvqa.org/dataset): TextVQA_0.5.1_val.json; train_images/, where those of val are, too
OCRBench (github.com/Yuliang-Liu/MultimodalOCR): OCRBench.json; OCRBench_Images/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ixc.errors import EvaluationError
from ixc.evaluation.samples import Sample, answers_field, make_sample, read_json, text_field
from ixc.evaluation.tasks import Task


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a benchmark's files lie in the folder a user gives. ``{split}`` stands for the split."""

    annotations: tuple[str, ...]
    """The first that exists is read."""
    image_folders: tuple[str, ...]
    """Looked through in this order for each image, from the annotation's folder and from the given one."""
    read: Callable[[Path, str, Callable[[str], Path]], list[Sample]]
    """(annotation file, split, name of an image -> its path) -> samples"""


def read_official(task: Task, split: str, folder: Path) -> list[Sample]:
    """Raises EvaluationError when ``folder`` does not hold the benchmark's files or a file is damaged."""
    layout = LAYOUTS[task.name]
    names = [name.format(split=split) for name in layout.annotations]
    annotation = next((folder / name for name in names if (folder / name).is_file()), None)
    if annotation is None:
        expected = " or ".join([f"{task.name}-{split}.jsonl", *names])
        raise EvaluationError(f"{folder} has no {task.title} {split} data; it must hold {expected}.")
    image_folders = [
        root / name.format(split=split) for name in layout.image_folders for root in dict.fromkeys((annotation.parent, folder))
    ]
    return layout.read(annotation, split, lambda name: _find_image(name, image_folders))


def _find_image(name: str, folders: Sequence[Path]) -> Path:
    """Where the image is, with or without the folders in its name; where it should be, when it is nowhere."""
    places = [place for folder in folders for place in dict.fromkeys((folder / name, folder / Path(name).name))]
    return next((place for place in places if place.is_file()), places[0])


def _records(annotation: Path, key: str | None = None) -> list[Mapping[str, object]]:
    """The list of questions in a JSON file, under ``key`` or bare. Raises EvaluationError."""
    content = read_json(annotation)
    records = content.get(key) if key is not None and isinstance(content, Mapping) else content
    if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
        raise EvaluationError(f"{annotation} does not hold a list of questions; download it again.")
    return records


def _read_rrc(image_field: str) -> Callable[[Path, str, Callable[[str], Path]], list[Sample]]:
    """DocVQA and InfographicVQA: {"data": [{"questionId", "question", image_field, "answers"}]}; no answers in test."""

    def read(annotation: Path, split: str, find_image: Callable[[str], Path]) -> list[Sample]:
        samples = []
        for index, record in enumerate(_records(annotation, "data")):
            where = f"question {index} of {annotation}"
            image = find_image(text_field(record, image_field, where))
            samples.append(make_sample(record, image, where, id_field="questionId"))
        return samples

    return read


def _read_chartqa(annotation: Path, split: str, find_image: Callable[[str], Path]) -> list[Sample]:
    """[{"imgname", "query", "label"}] in two files, one for each half of the benchmark."""
    samples = []
    for group in ("human", "augmented"):
        path = annotation.with_name(f"{split}_{group}.json")
        for index, record in enumerate(_records(path)):
            where = f"question {index} of {path}"
            image = find_image(text_field(record, "imgname", where))
            question, answers = text_field(record, "query", where), answers_field(record, where, "label")
            samples.append(Sample(f"{group}-{index}", image, question, answers, group))
    return samples


def _read_textvqa(annotation: Path, split: str, find_image: Callable[[str], Path]) -> list[Sample]:
    """{"data": [{"question_id", "image_id", "question", "answers"}]}"""
    samples = []
    for index, record in enumerate(_records(annotation, "data")):
        where = f"question {index} of {annotation}"
        image = find_image(f"{text_field(record, 'image_id', where)}.jpg")
        samples.append(make_sample(record, image, where, id_field="question_id"))
    return samples


def _read_ocrbench(annotation: Path, split: str, find_image: Callable[[str], Path]) -> list[Sample]:
    """[{"image_path", "question", "answers", "type"}]; its ids are those of the source data sets and repeat."""
    samples = []
    for index, record in enumerate(_records(annotation)):
        where = f"question {index} of {annotation}"
        image = find_image(text_field(record, "image_path", where))
        group = {"group": text_field(record, "type", where)}
        samples.append(make_sample(record | group, image, where, default_id=str(index)))
    return samples


LAYOUTS: Mapping[str, Layout] = {
    "docvqa": Layout(
        annotations=(
            *("{split}_v1.0_withQT.json", "{split}_v1.0.json", "{split}/{split}_v1.0.json"),
            *("spdocvqa_qas/{split}_v1.0_withQT.json", "spdocvqa_qas/{split}_v1.0.json"),
        ),
        image_folders=("", "{split}", "spdocvqa_images"),
        read=_read_rrc("image"),
    ),
    "infovqa": Layout(
        annotations=(
            *("infographicsVQA_{split}_v1.0_withQT.json", "infographicsVQA_{split}_v1.0.json"),
            *(
                "infographicsvqa_qas/infographicsVQA_{split}_v1.0_withQT.json",
                "infographicsvqa_qas/infographicsVQA_{split}_v1.0.json",
            ),
        ),
        image_folders=("infographicsvqa_images", "images", ""),
        read=_read_rrc("image_local_name"),
    ),
    "chartqa": Layout(
        annotations=("{split}/{split}_human.json", "ChartQA Dataset/{split}/{split}_human.json", "{split}_human.json"),
        image_folders=("png",),
        read=_read_chartqa,
    ),
    "textvqa": Layout(annotations=("TextVQA_0.5.1_{split}.json",), image_folders=("train_images", ""), read=_read_textvqa),
    "ocrbench": Layout(
        annotations=("OCRBench.json", "OCRBench/OCRBench.json", "json_files/OCRBench.json"),
        image_folders=("OCRBench_Images", ""),
        read=_read_ocrbench,
    ),
}
