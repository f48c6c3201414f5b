"""Where weights go: accelerate's real dispatch over CPU and disk gives the same model; settings that cannot be are said so."""

import pytest
import torch
from accelerate import init_empty_weights

from ixc.errors import SettingsError
from ixc.models.checkpoints import load_checkpoint
from ixc.models.placement import Placement, device_map_for, parse_max_memory, parse_placement
from ixc.models.precision import Precision
from ixc.models.xcomposer2 import XComposer2Config, XComposer2ForCausalLM
from ixc.tiling import Grid
from tests.checkpoints import REFERENCE, VL_REFERENCE, write_chat_checkpoint

CPU = torch.device("cpu")
GIGABYTE = 10**9


def split_over_cpu_and_disk(num_bytes, folder):
    return Placement(CPU, True, {"cpu": num_bytes}, folder)


@pytest.fixture(scope="module", params=[REFERENCE, VL_REFERENCE], ids=["4KHD", "VL"])
def folder(request, tmp_path_factory):
    return write_chat_checkpoint(tmp_path_factory.mktemp("split"), reference=request.param)


@torch.no_grad()
def test_the_same_logits_with_layers_on_disk(folder, tmp_path):
    whole = load_checkpoint(folder, CPU, Precision.FP32).model
    room = sum(p.numel() * 4 for p in whole.parameters()) // 2
    spread = load_checkpoint(folder, split_over_cpu_and_disk(room, tmp_path), Precision.FP32).model
    assert "disk" in spread.hf_device_map.values()
    assert next(spread.model.layers[1].parameters()).is_meta, "a layer's weights are really not in memory"
    side, tiles = (336, 2) if whole.config.is_tiled else (490, 1)
    pixels = torch.randint(0, 256, (tiles, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    num_tokens = whole.encode_images(pixels, [Grid(1, tiles)])[0].shape[0]
    ids = torch.tensor([[1, 5, *[whole.config.image_token_id] * num_tokens, 1, 9, 11]])
    inputs = {"tiles": pixels, "image_grids": torch.tensor([[1, tiles]]), "logits_to_keep": 4}
    torch.testing.assert_close(spread(ids, **inputs).logits, whole(ids, **inputs).logits, rtol=0, atol=0)


@pytest.mark.parametrize("first_gb", [6, 12])
def test_newline_and_separator_stay_where_images_are_laid_out(first_gb):
    """The 7B on the meta device over two GPUs, CPU and disk; no layer is split, and nobody gets more than it may hold."""
    with init_empty_weights():
        model = XComposer2ForCausalLM(XComposer2Config()).to(torch.bfloat16)
    limits = {0: first_gb * GIGABYTE, 1: 4 * GIGABYTE, "cpu": 5 * GIGABYTE}
    placement = Placement(torch.device("cuda", 0), True, limits, offload_folder="anywhere")
    device_map = device_map_for(model, placement)
    assert device_map["plora_sub_GN"] == device_map["plora_glb_GN"] == 0
    sizes = dict.fromkeys(device_map.values(), 0)
    homes = {}
    for name, parameter in model.named_parameters():
        place = max((part for part in device_map if name == part or name.startswith(f"{part}.") or not part), key=len)
        sizes[device_map[place]] += parameter.numel() * 2
        if name.startswith("model.layers."):
            homes.setdefault(name.split(".")[2], set()).add(device_map[place])
    assert all(len(devices) == 1 for devices in homes.values())
    assert len(homes) == 32
    assert all(size <= limits[device] for device, size in sizes.items() if device != "disk")
    assert ("disk" in sizes) == (first_gb == 6)


def test_too_little_room_names_the_way_out():
    with init_empty_weights():
        model = XComposer2ForCausalLM(XComposer2Config()).to(torch.bfloat16)
    with pytest.raises(SettingsError, match=r"take 17\.2 GB and GPUs and CPU together may hold 9\.0 GB; set IXC_OFFLOAD_DIR"):
        device_map_for(model, Placement(CPU, True, {"cpu": 9 * GIGABYTE}))


def test_limits_are_read_as_written():
    assert parse_max_memory("0=20GB, 1 = 7.5gb,cpu=48GB") == {0: 20 * GIGABYTE, 1: 7.5 * GIGABYTE, "cpu": 48 * GIGABYTE}
    with pytest.raises(SettingsError, match=r"must look like .*'gpu=3' does not"):
        parse_max_memory("gpu=3")


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("cuda",), "IXC_DEVICE asks for cuda and PyTorch finds no NVIDIA GPU here; set IXC_DEVICE=auto"),
        (("cuda:1",), "asks for cuda:1 and PyTorch finds no"),
        (("tpu",), "must be auto, cpu, cuda, cuda:N or split, not 'tpu'"),
        (("split", "0=20GB"), "names GPU 0, and this machine has 0"),
        (("auto", "cpu=20GB"), "go with IXC_DEVICE=split"),
    ],
)
def test_a_device_that_is_not_there_is_one_sentence(options, message):
    with pytest.raises(SettingsError, match=message):
        parse_placement(*options)
    assert parse_placement("auto").device == CPU


def test_quantised_weights_are_not_split(folder, tmp_path):
    with pytest.raises(SettingsError, match="int8 needs the model on one device"):
        load_checkpoint(folder, split_over_cpu_and_disk(10**6, tmp_path), Precision.INT8)
