"""A run's configuration is checked before any work, and those that come along pass."""

import dataclasses

import pytest
import yaml

from ixc.errors import SettingsError
from ixc.training import train
from ixc.training.config import load_config
from ixc.training.kinds import KIND_SHARES
from tests.training.conftest import CONFIG


@pytest.mark.parametrize("path", sorted(CONFIG.parent.glob("nano*.yaml")), ids=lambda path: path.stem)
def test_the_configurations_that_come_along_can_be_used(path):
    config = load_config(path)
    assert config.joint.num_steps > 0


def test_a_configuration_like_another_says_only_what_differs(tmp_path):
    base = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
    own = {"like": "base.yaml", "seed": 5, "joint": {"num_steps": 3000}, "model": {"rope_theta": 500_000.0}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    config, before = load_config(tmp_path / "own.yaml"), load_config(CONFIG)
    assert config.model == {**before.model, "rope_theta": 500_000.0}
    joint = dataclasses.replace(before.joint, num_steps=3000)
    assert config == dataclasses.replace(before, seed=5, joint=joint, model=config.model)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (3, "own.yaml: like must be the name of a file, not 3"),
        ("none.yaml", "none.yaml cannot be read as YAML"),
        ("own.yaml", "own.yaml: like: own.yaml may not be like another itself"),
    ],
)
def test_a_configuration_like_nothing_is_refused(tmp_path, like, message):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"like": like, "seed": 5}), encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        load_config(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("vision", "batch_size"), 0, "vision: batch_size must be at least 1"),
        (("vision", "num_steps"), "many", "vision: num_steps must be a whole number, not 'many'"),
        (("joint", "budgets"), [], "joint: budgets must be 1 or more"),
        (("joint", "learning"), 1, "joint: unknown setting 'learning'"),
        (("language", "muon_lr"), 5, "language: learning rates must be between 0 and 1"),
        (("language",), None, "language: a mapping of settings is missing"),
        (("joint", "kind_weights"), {"memo": 2}, "joint: kind_weights: there is no kind memo"),
        (("joint", "kind_weights"), {"table": -1}, "joint: kind_weights must be finite numbers that are not negative"),
        (("joint", "rehearsal_share"), 1, "joint: rehearsal_share must be at least 0 and less than 1"),
        (("joint", "kind_weights"), dict.fromkeys(KIND_SHARES, 0), "joint: kind_weights must leave at least one kind"),
        (("joint", "mark_weight"), 0, "joint: mark_weight must be positive"),
        (("joint", "num_steps"), 0, "joint: num_steps must be at least 1"),
        (("language", "num_steps"), -1, "language: num_steps must be at least 0"),
        (("joint", "max_turns"), 0, "joint: max_turns must be at least 1"),
        (("joint", "tile_weight"), -1, "joint: tile_weight must not be negative"),
        (("language", "binding_weight"), -0.1, "language: binding_weight must not be negative"),
        (("joint", "kind_weights"), [2], "joint: kind_weights must be a mapping"),
        (("num_slots",), 99, "num_slots must be between 1 and 16"),
        (("num_slots",), 5, "num_slots may be at most 4: with pointing_weight each takes a head"),
        (("seed",), -1, "seed must not be negative"),
        (("seed",), 2**70, "seed must not be negative, and less than"),
        (("num_workers",), -1, "num_workers must not be negative"),
        (("language", "noise"), float("inf"), "language: noise must be a finite number, not inf"),
        (("joint", "kind_weights"), {"table": float("inf")}, "joint: kind_weights must be finite numbers"),
        (("start_from",), 3, "start_from must be a text, not 3"),
        (("vision", "page_advance_px"), [12], "vision: page_advance_px must be two widths"),
        (("vision", "budgets"), [9, 16], "vision: budgets must hold one of at most 4, for the global views"),
        (("log_every_steps",), 0, "checkpoint and log intervals must be positive"),
        (("num_slots",), 3.5, "num_slots must be a whole number, not 3.5"),
        (("model",), [], r"model must be a mapping, not \[\]"),
        (("model", "hiden_size"), 96, "model: unknown setting hiden_size"),
        (("model", "img_size"), 490, "model: unknown setting img_size"),
        (("model", "hidden_size"), "wide", "model: hidden_size must be a whole number of at least 1, not 'wide'"),
        (("model", "hidden_size"), 100, "model: hidden_size / num_attention_heads must be even"),
        (("model", "num_key_value_heads"), 5, "model: .*must divide each other"),
        (("model", "num_hidden_layers"), 0, "model: num_hidden_layers must be a whole number of at least 1, not 0"),
        (("model", "plora_rank"), 0, "model: plora_rank must be a whole number of at least 1, not 0"),
        (("model", "plora_dropout"), 2, "model: plora_dropout must be at least 0 and less than 1"),
        (("model", "rope_theta"), float("inf"), "model: rope_theta must be a finite number"),
        (("model", "hidden_act"), "sillu", "model: there is no hidden_act 'sillu'"),
        (("model", "vision_config"), [], "model: vision_config must be a mapping"),
        (("model", "vision_config", "num_layers"), 6, "model: vision_config: unknown setting num_layers"),
        (("model", "vision_config", "hidden_act"), "gellu", "model: vision_config: there is no hidden_act 'gellu'"),
        (("model", "vision_config", "num_attention_heads"), 8, "hidden_size / num_attention_heads must be at least 32"),
        (("model", "vision_config", "image_size"), 224, "vision_config: image_size must be 336 and patch_size 14"),
        (("model", "vision_config", "patch_size"), 16, "vision_config: image_size must be 336 and patch_size 14"),
        (("model", "vision_config", "num_channels"), 1, "model: none can be made of these fields: "),
    ],
)
def test_a_bad_setting_is_named_before_any_work(raw_config, write_config, tmp_path, caplog, place, value, message):
    target = raw_config
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    path = write_config(raw_config)
    with pytest.raises(SettingsError, match=message):
        load_config(path)
    out = tmp_path / "out"
    assert train.main(["--config", str(path), "--out", str(out)]) == 1
    assert not out.exists()


def test_a_model_can_be_that_of_another_file(raw_config, write_config, tmp_path):
    """What guards resuming looks at the fields, wherever they were written."""
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"seed": 9, "model": raw_config["model"]}))
    assert load_config(write_config(raw_config | {"model": "other.yaml"})) == load_config(CONFIG)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"other\.yaml cannot be read as YAML: .*No such file"),
        ({"seed": 9}, r"config\.yaml: model must be a mapping, not None"),
        ({"model": "nano.yaml"}, r"config\.yaml: model must be a mapping, not 'nano\.yaml'"),
        ({"model": {"hiden_size": 96}}, r"config\.yaml: model: unknown setting hiden_size"),
    ],
)
def test_a_file_that_has_no_model_to_take_is_named(raw_config, write_config, tmp_path, content, message):
    if content is not None:
        (tmp_path / "other.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SettingsError, match=message):
        load_config(write_config(raw_config | {"model": "other.yaml"}))


@pytest.mark.parametrize("content", [b"seed: [1,", b"seed: \xff\xfe"])
def test_a_file_that_is_no_yaml_is_refused(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="cannot be read as YAML"):
        load_config(path)


def test_rehearsing_needs_a_language_stage(tiny_config):
    joint = dataclasses.replace(tiny_config.joint, rehearsal_share=0.5)
    with pytest.raises(SettingsError, match="needs the settings of a language stage"):
        dataclasses.replace(tiny_config, joint=joint, language=None)


def test_a_config_that_begins_with_a_model_may_leave_stages_out(raw_config, write_config):
    raw = {name: value for name, value in raw_config.items() if name not in ("vision", "reading")}
    with pytest.raises(SettingsError, match="vision: a mapping of settings is missing"):
        load_config(write_config(raw | {"start_from": ""}))
    config = load_config(write_config(raw | {"start_from": "earlier"}))
    assert config.vision is None
    assert config.reading is None
    assert config.language.num_steps == raw["language"]["num_steps"]


def test_a_stage_that_the_configuration_does_not_have_is_not_passed_over_in_silence(raw_config, write_config, tmp_path, caplog):
    path = write_config({name: value for name, value in raw_config.items() if name != "reading"})
    assert train.main(["--config", str(path), "--out", str(tmp_path / "out"), "--stage", "reading"]) == 1
    assert "config.yaml has no reading stage" in caplog.text


def test_a_folder_that_cannot_be_written_is_found_before_any_work(raw_config, write_config, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert train.main(["--config", str(write_config(raw_config)), "--out", str(tmp_path / "file" / "out")]) == 1
    assert "cannot be written" in caplog.text
