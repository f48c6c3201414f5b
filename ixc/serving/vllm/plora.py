"""Linear layers with Partial LoRA on vLLM's tensor-parallel layers.

y = W x, and for visual tokens y += B(A(x)) * alpha / rank (arXiv 2404.06512, section 3.1). A batch of vLLM's holds pieces of
many prompts and its shapes are compiled, so which tokens are visual is a factor of 0 or 1, not a slice; it is applied between
A and B, where it is narrowest.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from vllm.model_executor.layers.linear import ColumnParallelLinear, ReplicatedLinear, RowParallelLinear
from vllm.model_executor.layers.quantization import QuantizationConfig


@dataclass(frozen=True, slots=True)
class PLoRA:
    """The branch's size. The product is scaled by alpha / rank."""

    rank: int
    alpha: int

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank


class PLoRAColumnLinear(ColumnParallelLinear):
    """Every process holds a part of the output's rows, of W and of B; A is small and everywhere.

    Only W is quantised.
    """

    def __init__(
        self, in_features: int, out_features: int, plora: PLoRA, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__(in_features, out_features, bias=False, quant_config=quant_config, prefix=prefix, return_bias=False)
        self.plora_scaling = plora.scaling
        self.Plora_A = ReplicatedLinear(in_features, plora.rank, False, prefix=f"{prefix}.Plora_A", return_bias=False)
        self.Plora_B = ColumnParallelLinear(plora.rank, out_features, False, prefix=f"{prefix}.Plora_B", return_bias=False)

    def forward(self, x_SD: Tensor, visual_S1: Tensor) -> Tensor:
        """[S, in] -> this process's part of [S, out]; ``visual_S1`` is 1 for visual tokens, else 0."""
        return super().forward(x_SD) + self.Plora_B(self.Plora_A(x_SD) * (visual_S1 * self.plora_scaling))


class PLoRARowLinear(RowParallelLinear):
    """Every process holds a part of the input's columns, of W and of A, and the sum is shared; B is small and everywhere.

    Only W is quantised.
    """

    def __init__(
        self, in_features: int, out_features: int, plora: PLoRA, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__(in_features, out_features, bias=False, quant_config=quant_config, prefix=prefix, return_bias=False)
        self.plora_scaling = plora.scaling
        self.Plora_A = RowParallelLinear(in_features, plora.rank, False, prefix=f"{prefix}.Plora_A", return_bias=False)
        self.Plora_B = ReplicatedLinear(plora.rank, out_features, False, prefix=f"{prefix}.Plora_B", return_bias=False)

    def forward(self, x_SD: Tensor, visual_S1: Tensor) -> Tensor:
        """This process's part of [S, in] -> [S, out]; ``visual_S1`` is 1 for visual tokens, else 0."""
        return super().forward(x_SD) + self.Plora_B(self.Plora_A(x_SD) * (visual_S1 * self.plora_scaling))
