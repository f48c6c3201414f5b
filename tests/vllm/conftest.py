"""Tests of the vLLM plug-in, in vLLM's own environment (``make test-vllm``); elsewhere nothing here is collected."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.checkpoints import TOKENIZER_FILE, VL_REFERENCE, write_chat_checkpoint

if importlib.util.find_spec("vllm") is None:
    collect_ignore_glob = ["*"]
else:  # this file is imported with the other tests too, whose environment is not its own
    os.environ |= {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "IXC_RESIZE": "exact",
    }


@pytest.fixture(scope="session")
def nano() -> Path:
    return Path(__file__).parents[2] / "assets" / "models" / "ixc-nano"


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose answers depend on every token of the prompt."""
    return write_chat_checkpoint(tmp_path_factory.mktemp("noise"))


@pytest.fixture(scope="session")
def single_view(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The like, of the model that looks once, at 490 pixels."""
    return write_chat_checkpoint(tmp_path_factory.mktemp("single-view"), reference=VL_REFERENCE)


@pytest.fixture(scope="session")
def official(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``noise`` as the official repository has its files: pickled weights, its own class names, no processor, no end ids."""
    folder = tmp_path_factory.mktemp("official")
    config = json.loads((noise / "config.json").read_text()) | {"architectures": ["InternLM2ForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(load_file(noise / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / TOKENIZER_FILE.name).write_bytes(TOKENIZER_FILE.read_bytes())
    names = {"tokenizer_class": "InternLMXComposer2Tokenizer", "auto_map": {"AutoTokenizer": ["tokenization.X", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    (folder / "added_tokens.json").write_text(json.dumps({"<|im_start|>": 92544}))
    return folder
