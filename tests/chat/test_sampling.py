import pytest
import torch

from ixc.chat.sampling import TokenSampler
from ixc.settings import GenerationSettings

CPU = torch.device("cpu")


def test_greedy_takes_the_largest():
    sampler = TokenSampler(GenerationSettings(do_sample=False, repetition_penalty=1.0), [], CPU)
    assert sampler.next_token(torch.tensor([0.1, 3.0, 2.9])) == 1


def test_temperature_zero_is_greedy():
    assert TokenSampler(GenerationSettings(temperature=0.0), [], CPU).next_token(torch.tensor([5.0, 1.0])) == 0


@pytest.mark.parametrize(("penalised", "expected"), [([], [1, 2, 1]), ([1], [2, 1, 1])])
def test_repetition_penalty_divides_what_was_seen(penalised, expected):
    """By hand, penalty 2: logits [0, 3, 2]; once 1 is seen it counts 1.5, once 2 is seen it counts 1."""
    sampler = TokenSampler(GenerationSettings(do_sample=False, repetition_penalty=2.0), penalised, CPU)
    assert [sampler.next_token(torch.tensor([0.0, 3.0, 2.0])) for _ in range(3)] == expected


def test_top_p_leaves_out_the_tail():
    """Probabilities 0.6, 0.3, 0.1: at top-p 0.8 the third can never come, the first two in the ratio 2 to 1."""
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    sampler = TokenSampler(GenerationSettings(top_p=0.8, repetition_penalty=1.0, seed=3), [], CPU)
    counts = torch.bincount(torch.tensor([sampler.next_token(logits) for _ in range(3000)]), minlength=3)
    assert counts[2] == 0
    assert counts[0] / counts[1] == pytest.approx(2.0, rel=0.15)


def test_top_k_of_the_reference_applies_when_sampling():
    """60 equal logits but for tiny steps: only the 50 largest may come."""
    logits = torch.linspace(0.0, 1e-3, 60)
    sampler = TokenSampler(GenerationSettings(top_p=1.0, repetition_penalty=1.0, seed=3), [], CPU)
    assert min(sampler.next_token(logits) for _ in range(2000)) == 10
