"""The 8B, built on the meta device, has the official checkpoint's tensors."""

import csv

import torch

from ixc.models.inf_llava import InfLlavaConfig, InfLlavaForCausalLM
from tests.inf_checkpoints import REFERENCE


def test_names_and_shapes_are_the_checkpoints():
    with torch.device("meta"):
        model = InfLlavaForCausalLM(InfLlavaConfig())
    built = {name: "x".join(map(str, tensor.shape)) for name, tensor in model.state_dict().items()}
    with (REFERENCE / "checkpoint_keys.csv").open() as file:
        official = {row["name"]: row["shape"] for row in csv.DictReader(file)}
    assert len(official) == 706
    assert built == official
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_030_269_440 + 303_507_456 + 4_400_256 + 20_979_712
