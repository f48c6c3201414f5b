"""Weights to begin with: what does not fit is refused before any work."""

import dataclasses

import pytest
from safetensors.torch import load_file, save_file

from ixc.errors import CheckpointError
from ixc.training.export import export_checkpoint
from ixc.training.initial import start_from
from ixc.training.stages import Kit


@pytest.fixture
def make_deep_kit(tiny_config, tmp_path):
    def make(num_layers):
        model = {**tiny_config.model, "num_hidden_layers": num_layers}
        return Kit.make(dataclasses.replace(tiny_config, model=model), tmp_path / f"kit{num_layers}")

    return make


@pytest.fixture
def shallow(make_deep_kit, tmp_path):
    export_checkpoint(make_deep_kit(2), tmp_path / "shallow")
    return tmp_path / "shallow"


def test_a_deeper_model_cannot_be_begun_with(make_deep_kit, shallow):
    with pytest.raises(CheckpointError, match="has 2 layers; 1 cannot start from it"):
        start_from(make_deep_kit(1).model, shallow)


def test_a_model_of_another_kind_cannot_be_begun_with(make_deep_kit, shallow):
    weights = load_file(shallow / "model.safetensors")
    save_file({f"other.{name}": weight for name, weight in weights.items()}, shallow / "model.safetensors")
    with pytest.raises(CheckpointError, match="start from one of the same kind"):
        start_from(make_deep_kit(2).model, shallow)


def test_weights_that_are_cut_short_or_not_there_are_said_so(make_deep_kit, shallow, tmp_path):
    path = shallow / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    for folder in (shallow, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match="There are no weights to start from in"):
            start_from(make_deep_kit(2).model, folder)
