"""Whether a model fits: what is counted beforehand is what the model takes here."""

from __future__ import annotations

import pytest
from safetensors import safe_open

from ixc.chat.costs import CostModel
from ixc.chat.loading import load_engine
from ixc.hosting.space.fitting import memory_need
from ixc.hosting.space.hardware import HARDWARE
from ixc.models.presets import PRESETS, ModelPreset, find_model
from ixc.settings import Settings
from ixc.tiling import SizePx

TEXT_TOKENS = 512


def num_values(preset: ModelPreset) -> int:
    with safe_open(preset.source / "model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("name", ["ixc-nano", "inf-nano"])
def test_a_cpu_space_needs_what_the_same_model_needs_on_this_cpu(name, monkeypatch):
    passes: list[dict] = []

    class Costs(CostModel):
        def __init__(self, model, **sizes):
            passes.append(sizes)
            super().__init__(model, **sizes)

    for user in ("ixc.hosting.space.fitting", "ixc.chat.loading"):
        monkeypatch.setattr(f"{user}.CostModel", Costs)
    need = memory_need(find_model(name), HARDWARE["cpu-basic"])
    assert need.weights == 4 * num_values(find_model(name)), "float32"
    engine = load_engine(Settings(model=name, device="cpu"), measure=False)
    assert passes[0] == passes[1], "as many views and tokens at a time"
    assert need.max_patches == engine.default_max_patches
    column = engine.layout.plan(SizePx(height=33600, width=336), need.max_patches)
    assert need.question == engine.estimate(column, TEXT_TOKENS).memory_bytes
    engine.close()


@pytest.mark.parametrize(("name", "gigabytes"), [("4khd-7b", 17.2), ("vl-7b", 17.3), ("inf-llava-8b", 16.7)])
def test_a_gpu_holds_the_large_models_in_16_bits(name, gigabytes):
    need = memory_need(find_model(name), HARDWARE["l4x1"])
    assert need.weights / 1e9 == pytest.approx(gigabytes, abs=0.05)
    parts = (need.weights, need.question, need.runtime, need.decoding)
    assert need.total_gb == pytest.approx(sum(parts) / 1e9)


@pytest.mark.parametrize(
    ("name", "hardware", "gigabytes"),
    [
        ("4khd-7b", "a100-large", 16384 * 32 * 2 * 8 * 128 * 2 / 1e9),  # the whole context: 2.15 GB
        ("4khd-7b", "l4x1", (24 - 17.2 - 1.0) / 8),
        ("4khd-7b", "t4-small", 0),  # there is no room for the weights
        ("4khd-7b", "zero-a10g", 0),
        ("4khd-7b", "cpu-upgrade", 0),
        ("inf-llava-8b", "a100-large", 0),  # decodes without such buffers
    ],
)
def test_the_fixed_buffers_of_decoding_are_counted(name, hardware, gigabytes):
    assert memory_need(PRESETS[name], HARDWARE[hardware]).decoding / 1e9 == pytest.approx(gigabytes, abs=0.01)


def test_zero_gpu_reads_the_prompt_in_smaller_pieces_than_a_gpu_of_one_s_own():
    whole, pieces = (memory_need(PRESETS["4khd-7b"], HARDWARE[name]) for name in ("l4x1", "zero-a10g"))
    assert pieces.weights == whole.weights
    assert pieces.question < whole.question
    # The 25 tiles and their tokens' keys and values are there either way: 32 layers, 8 heads of 128, 16 bits.
    assert pieces.question > (144 * 26 + 12 * 26 + 1 + TEXT_TOKENS) * 32 * 2 * 8 * 128 * 2


def test_a_model_whose_configuration_is_not_known_here_is_not_counted():
    assert memory_need(find_model("somebody/some-model"), HARDWARE["l4x1"]) is None
