"""The small INF-LLaVA's training: what it takes over from ixc-nano, its targets, and a run of two steps that is resumed."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ixc.chat.loading import load_engine
from ixc.dual_perspective import DualPerspectivePlan
from ixc.errors import SettingsError
from ixc.image_layout import LayoutKind
from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.settings import Settings
from ixc.tiling import SizePx
from ixc.training.cells import Glyphs, classes_of
from ixc.training.inf_llava import InfKit, SignStage, load_inf_config, main, token_targets
from ixc.training.loop import train_stage

ROOT = Path(__file__).parents[2]
NANO = ROOT / "assets" / "models" / "ixc-nano"
CONFIG = ROOT / "ixc" / "training" / "configs" / "inf_nano.yaml"


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    raw = yaml.safe_load(CONFIG.read_text())
    raw["start_from"] = str(NANO)
    raw["signs"] |= {"num_steps": 2, "num_warmup": 1, "batch_size": 1, "num_threads": 1}
    path = tmp_path_factory.mktemp("config") / "inf.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture(scope="module")
def kit(config_file):
    return InfKit.make(load_inf_config(config_file))


def test_tower_and_language_model_begin_as_nanos(kit):
    """Under other names the same weights must compute the same."""
    nano = XComposer2ForCausalLM.from_pretrained(NANO, dtype=torch.float32).eval()
    model = kit.model.eval()
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(1, 3, 336, 336, generator=generator)
    embeds = torch.randn(1, 20, nano.config.hidden_size, generator=generator)
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_views(views), nano.vit(views), rtol=1e-3, atol=1e-3)
        ours, theirs = (each.model(inputs_embeds=embeds).last_hidden_state for each in (model, nano))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_targets_are_the_characters_in_each_tokens_part_of_the_square():
    """A 240x240 picture: each of the 24x24 tokens stands for 10x10 of its pixels."""
    boxes = np.array([[12, 23, 18, 27], [232, 1, 238, 9]], np.float32)  # centres (15, 25) and (235, 5)
    glyphs = Glyphs(classes_of("AZ"), boxes, np.full((2, 2), 10, np.float32))
    targets = token_targets(glyphs, DualPerspectivePlan(SizePx(240, 240)), 2)
    assert targets[2 * 24 + 1, 0] == classes_of("A")[0]
    assert targets[23, 0] == classes_of("Z")[0]
    assert (targets > 0).sum() == 2
    # In a picture half as high the same places lie a quarter of the square lower.
    padded = token_targets(glyphs, DualPerspectivePlan(SizePx(120, 240)), 2)
    assert padded[(2 + 6) * 24 + 1, 0] == classes_of("A")[0]


def test_a_run_is_resumed_and_its_model_answers(kit, config_file, tmp_path):
    train_stage(SignStage(kit), kit, tmp_path / "signs", num_workers=0, stop_at=1)
    assert main(["--config", str(config_file), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "signs" / "curve.json").exists()
    engine = load_engine(Settings(model=str(tmp_path / "model")))
    try:
        assert engine.layout.kind is LayoutKind.DUAL_PERSPECTIVE
        assert engine.default_max_patches == 9
    finally:
        engine.close()


def test_a_bad_setting_is_named_before_any_work(tmp_path):
    raw = yaml.safe_load(CONFIG.read_text())
    raw["signs"]["num_stepz"] = 1
    path = tmp_path / "inf.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(SettingsError, match="num_stepz"):
        load_inf_config(path)
