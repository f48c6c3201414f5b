"""An engine whose model is spread by accelerate, here over CPU and disk."""

from ixc.chat.loading import load_engine
from ixc.settings import Settings
from tests.chat.conftest import Chat

GIGABYTE = 10**9


def test_an_engine_answers_with_a_split_model(checkpoint, engine, new_chat, images, landscape, tmp_path):
    size = sum(p.numel() * p.element_size() for p in engine.runner.model.parameters())
    settings = Settings(
        model=str(checkpoint),
        prefill_chunk_tokens=64,
        device="split",
        max_memory=f"cpu={size / 3 / GIGABYTE:.6f}GB",
        offload_folder=str(tmp_path),
        decode="static",
    )
    split = load_engine(settings)
    try:
        assert split.device_name == "split: cpu, disk"
        assert split.runner.static is None, "fixed buffers need one device"
        answer = Chat(split, images, "split").ask("What is this?", landscape)
        assert answer.text == new_chat().ask("What is this?", landscape).text
    finally:
        split.close()
