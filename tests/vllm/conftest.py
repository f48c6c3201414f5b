"""Tests of the vLLM plug-in, in vLLM's own environment (``make test-vllm``); elsewhere nothing here is collected."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.checkpoints import write_chat_checkpoint

if importlib.util.find_spec("vllm") is None:
    collect_ignore_glob = ["*"]

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
