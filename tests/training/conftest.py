"""A training kit small enough for tests, and a typeface that needs no font package."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

import ixc.training
from ixc.evaluation import held_out, nano
from ixc.training import inf_llava, joint_stage, language_stage, vision_stage
from ixc.training.config import load_config
from ixc.training.fonts import BUILT_IN
from ixc.training.stages import Kit

CONFIG = Path(ixc.training.__file__).parent / "configs" / "nano.yaml"


class CountedOperations(TorchDispatchMode):
    """Inside, PyTorch's operations are counted by name."""

    def __init__(self):
        super().__init__()
        self.names = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="session")
def fonts():
    return (BUILT_IN,)


@pytest.fixture(autouse=True)
def no_font_packages(monkeypatch):
    """Where no fonts are given, documents are set in that typeface too: the tests need no font package, and draw alike."""
    for module in (held_out, nano, inf_llava, joint_stage, language_stage, vision_stage):
        monkeypatch.setattr(module, "training_fonts", lambda: (BUILT_IN,))
    for module in (held_out, nano):
        monkeypatch.setattr(module, "held_out_fonts", lambda: (BUILT_IN,))


@pytest.fixture
def raw_config():
    """The shipped configuration, as YAML gives it."""
    return yaml.safe_load(CONFIG.read_text(encoding="utf-8"))


@pytest.fixture
def write_config(tmp_path):
    def write(raw):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(raw), encoding="utf-8")
        return path

    return write


@pytest.fixture
def tiny_config(raw_config, write_config):
    """The shipped configuration with a tiny model and short stages."""
    raw_config["model"] |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    raw_config["model"] |= {"num_key_value_heads": 1, "plora_rank": 4}
    vision = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    raw_config["model"]["vision_config"] |= vision
    short = {"num_steps": 4, "num_warmup": 1, "num_threads": 1, "budgets": [1]}
    raw_config["language"] |= {**short, "num_short_steps": 2, "tokens_per_batch": 1200}
    raw_config["vision"] |= {**short, "batch_size": 2}
    for stage in ("reading", "joint"):
        raw_config[stage] |= {**short, "views_per_batch": 4}
    raw_config["log_every_steps"] = 1
    raw_config |= {"start_from": "", "eyes_from": ""}
    return load_config(write_config(raw_config))


@pytest.fixture
def make_kit(tiny_config, tmp_path):
    return lambda: Kit.make(tiny_config, tmp_path / "kit")
