"""The 7B's parameters on the meta device, against the lists of the official checkpoints' tensors."""

import csv
import math

import pytest
import torch
from accelerate import init_empty_weights

from ixc.models.xcomposer2 import XComposer2Config, XComposer2ForCausalLM
from tests.checkpoints import REFERENCE, VL_REFERENCE


@pytest.mark.parametrize(
    ("reference", "options", "num_tensors", "num_parameters"),
    [(REFERENCE, {}, 942, 8_597_499_904), (VL_REFERENCE, {"img_size": 490}, 940, 8_666_838_016)],
    ids=["4KHD", "VL"],
)
def test_names_shapes_and_dtypes_of_the_7b(reference, options, num_tensors, num_parameters):
    with (reference / "checkpoint_keys.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = {row["name"]: (tuple(map(int, row["shape"].split("x"))), row["dtype"]) for row in rows}
    with init_empty_weights():
        model = XComposer2ForCausalLM(XComposer2Config(**options)).to(torch.bfloat16)
    actual = {name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in model.state_dict().items()}
    assert len(actual) == num_tensors
    assert actual == expected
    assert sum(math.prod(shape) for shape, _ in actual.values()) == num_parameters
