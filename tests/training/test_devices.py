"""Training does not depend on the device: on another one every stage has the same loss and the same gradients."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch

from ixc.evaluation import ablation
from ixc.evaluation.held_out import make_tasks
from ixc.training import inf_llava, joint_stage, language_stage, vision_stage
from ixc.training.attention import fast_attention
from ixc.training.inf_config import load_inf_config
from ixc.training.initial_language import PREPARED_DEPTH, binding_layer
from ixc.training.kinds import KIND_SHARES
from ixc.training.stages import Kit
from tests.other_device import move_there, other_device
from tests.training.test_inf_training import CONFIG as INF_CONFIG
from tests.training.test_inf_training import NANO

STAGES = {
    "language": language_stage.LanguageStage,
    "vision": vision_stage.VisionStage,
    "reading": joint_stage.ReadingStage,
    "joint": joint_stage.JointStage,
}


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """The stand-in has no autocast; without it the numbers must agree closely."""
    for module in (inf_llava, joint_stage, language_stage, vision_stage):
        monkeypatch.setattr(module, "bfloat16", lambda _: nullcontext())


def loss_and_gradients(stage, kit, batch):
    kit.model.zero_grad()
    with fast_attention(kit.model):
        loss, metrics = stage.loss(batch)
        loss.backward()
    gradients = {name: each.grad.to("cpu") for name, each in kit.model.named_parameters() if each.grad is not None}
    return float(loss.detach()), metrics, gradients


def check_on_other_device(stage, kit, steps):
    """Returns the names of the metrics of all ``steps``."""
    batches = [stage.make_batch(step) for step in steps]
    expected = [loss_and_gradients(stage, kit, batch) for batch in batches]
    with other_device() as device:
        for module in (kit.model, stage.extra):
            move_there(module)
        for batch, (loss, metrics, gradients) in zip(batches, expected, strict=True):
            moved = {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
            found = loss_and_gradients(stage, kit, moved)
            assert found[0] == pytest.approx(loss, rel=1e-4)
            assert found[1] == pytest.approx(metrics, rel=1e-3)
            assert found[2].keys() == gradients.keys()
            assert all(torch.allclose(found[2][name], gradients[name], atol=1e-3) for name in gradients)
    return {name for _, metrics, _ in expected for name in metrics}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_of_ixc_nano_learns_the_same_there(tiny_config, tmp_path, name):
    weights = {"pointing_weight": 0.5, "tile_weight": 0.3}
    settings = dataclasses.replace(getattr(tiny_config, name), **weights)
    if name in ("reading", "joint"):
        settings = dataclasses.replace(settings, rehearsal_share=0.4, budgets=(2,))
    kit = Kit.make(dataclasses.replace(tiny_config, **{name: settings}), tmp_path)
    check_on_other_device(STAGES[name](kit), kit, range(4))


def test_what_belongs_together_and_how_large_it_is_are_learned_the_same_there(tiny_config, tmp_path):
    """With the layers that it takes, and a few short lessons about charts, which have values."""
    kinds = dict.fromkeys(KIND_SHARES, 0.0) | {"line chart": 1.0}
    weights = {"pointing_weight": 0.5, "binding_weight": 0.5, "value_weight": 0.5, "kind_weights": kinds}
    language = dataclasses.replace(tiny_config.language, **weights, num_short_steps=4)
    model = {**tiny_config.model, "num_hidden_layers": binding_layer(PREPARED_DEPTH) + 2}
    kit = Kit.make(dataclasses.replace(tiny_config, model=model, language=language), tmp_path)
    metrics = check_on_other_device(language_stage.LanguageStage(kit), kit, range(1))
    assert metrics >= {"pointed_right_2", "bound_right", "naming_right", "value_error"}


def test_a_stage_of_inf_nano_learns_the_same_there(tmp_path):
    raw = INF_CONFIG.read_text().replace("assets/models/ixc-nano", str(NANO))
    path = tmp_path / "inf.yaml"
    path.write_text(raw)
    config = load_inf_config(path)
    small = {"batch_size": 2, "small_share": 1.0}
    kit = inf_llava.InfKit.make(
        dataclasses.replace(
            config,
            vision=dataclasses.replace(config.vision, **small),
            lessons=dataclasses.replace(config.lessons, **small),
        )
    )
    check_on_other_device(inf_llava.LessonStage(kit), kit, range(1))


def test_the_ablation_asks_there_too(make_kit, monkeypatch):
    kit, task = make_kit(), make_tasks(1, 3)[0]
    kit.model.eval()
    monkeypatch.setattr(ablation, "MAX_NEW_TOKENS", 4)
    ask = torch.no_grad(ablation.answer_without.__wrapped__)  # the stand-in does not know inference mode
    expected = ask(kit, task, 2, "newline")
    with other_device():
        move_there(kit.model)
        assert ask(kit, task, 2, "newline") == expected
