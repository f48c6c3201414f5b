"""The 7B's parameters on the meta device, against the list of the official checkpoint's tensors."""

import csv
import math

import torch
from accelerate import init_empty_weights

from ixc.models.xcomposer2 import XComposer2Config, XComposer2ForCausalLM
from tests.checkpoints import REFERENCE


def test_names_shapes_and_dtypes_of_the_7b():
    with (REFERENCE / "checkpoint_keys.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = {row["name"]: (tuple(map(int, row["shape"].split("x"))), row["dtype"]) for row in rows}
    with init_empty_weights():
        model = XComposer2ForCausalLM(XComposer2Config()).to(torch.bfloat16)
    actual = {name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in model.state_dict().items()}
    assert len(actual) == 942
    assert actual == expected
    assert sum(math.prod(shape) for shape, _ in actual.values()) == 8_597_499_904
