"""Every tensor of the released 7B has its place in vLLM's model; on the meta device, so that none is needed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from ixc.models.xcomposer2 import XComposer2Config
from ixc.serving.vllm import register
from tests.checkpoints import TOKENIZER_FILE

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def vllm_config(tmp_path, request):
    """vLLM's configuration for a 7B that has no weights, and a group of one process, which its layers ask for."""
    from vllm.config import set_current_vllm_config
    from vllm.distributed import (
        cleanup_dist_env_and_memory,
        init_distributed_environment,
        initialize_model_parallel,
    )
    from vllm.engine.arg_utils import EngineArgs

    register()
    (tmp_path / TOKENIZER_FILE.name).write_bytes(TOKENIZER_FILE.read_bytes())
    XComposer2Config(architectures=["XComposer2ForCausalLM"], img_size=request.param).save_pretrained(tmp_path)
    config = EngineArgs(str(tmp_path), dtype="float16", max_model_len=16384, enforce_eager=True).create_engine_config()
    with set_current_vllm_config(config):
        init_distributed_environment(1, 0, f"file://{tmp_path}/group", 0, "gloo")
        initialize_model_parallel()
        yield config
        cleanup_dist_env_and_memory()


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    shapes = {row["name"]: [int(side) for side in row["shape"].split("x")] for row in rows}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("vllm_config", "model"), [(None, "ixc2_4khd"), (490, "ixc2_vl")], indirect=["vllm_config"], ids=["4khd", "vl"]
)
def test_all_names_of_the_checkpoint_are_loaded_and_fill_all_parameters(vllm_config, model):
    from ixc.serving.vllm.model import XComposer2ForVllm

    official = tensors(DATA / model / "checkpoint_keys.csv")
    with torch.device("meta"):
        empty = XComposer2ForVllm(vllm_config=vllm_config)
    parameters = dict(empty.named_parameters())
    assert sum(p.numel() for p in parameters.values()) == sum(t.numel() for t in official.values())
    assert empty.load_weights(official.items()) == parameters.keys()
    with pytest.raises((ValueError, KeyError), match="unheard"):
        empty.load_weights([("model.unheard.weight", torch.empty(1, device="meta"))])
