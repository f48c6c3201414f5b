import json
from pathlib import Path

import pytest
from PIL import Image

from tests.checkpoints import REFERENCE, write_chat_checkpoint

QUESTIONS = ("What is shown?", "How many?", "Which colour is the third bar?")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return write_chat_checkpoint(tmp_path_factory.mktemp("evaluation-checkpoint"))


@pytest.fixture(scope="session")
def engine(checkpoint):
    from ixc.chat.loading import load_engine
    from ixc.settings import Settings

    engine = load_engine(Settings(model=str(checkpoint), prefill_chunk_tokens=300))
    yield engine
    engine.close()


@pytest.fixture
def docvqa(tmp_path) -> Path:
    """Our own format: two images, three questions about each, not in the order of the images."""
    folder = tmp_path / "docvqa"
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, question in enumerate(QUESTIONS):
        for name in ("img_landscape", "img_portrait"):
            Image.open(REFERENCE / f"{name}.png").save(folder / "images" / f"{name}.png")
            record = {"id": f"{name}-{number}", "image": f"images/{name}.png", "question": question, "answers": ["yes", "no"]}
            lines.append(json.dumps(record))
    (folder / "docvqa-val.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
