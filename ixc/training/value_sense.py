"""How large a number is whose last digit stands in a visual token: the language model is taught to know it, while it trains.

Which bar is the highest cannot be said before all of them are known, and an answer's first letter says little about what was
compared wrongly. Training only: the head is thrown away.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

NO_VALUE = float("nan")
UNIT = 25.0
"""Values are told in this unit: those of the charts that are drawn then lie between 0 and 4."""


class ValueSense(nn.Module):
    """A linear head on hidden states of the language model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def loss(self, hidden_BSD: Tensor, values_BS: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Mean squared error, in squares of ``UNIT``, of the tokens with a value, and for the log the mean error itself."""
        is_known_BS = ~values_BS.isnan()
        if not is_known_BS.any():
            return hidden_BSD.new_zeros(()).float(), {}
        hidden_MD = F.layer_norm(hidden_BSD[is_known_BS], hidden_BSD.shape[-1:])
        error_M = self.value(hidden_MD).float()[:, 0] - values_BS[is_known_BS] / UNIT
        return error_M.square().mean(), {"value_error": float(UNIT * error_M.detach().abs().mean())}
