"""The loss of a batch of lessons: its answers, and what the language model is to find out on the way to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.training.attention import Attended, watching
from ixc.training.config import StageConfig
from ixc.training.initial_language import binding_layer, pointing_layers
from ixc.training.lessons import NO_LABEL
from ixc.training.pointers import NOWHERE, pointing_loss
from ixc.training.tile_sense import TileSense, hidden_after
from ixc.training.value_sense import ValueSense

Part = tuple[Tensor, dict[str, float]]
"""A loss and its figures for the log."""


SENSES_LR_SCALE = 10.0
"""Of the learning rate: heads that start from nothing and know little for long teach little."""


class Senses(nn.Module):
    """Heads that read off what the language model knows on the way; they train along and are thrown away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tiles = TileSense(width)
        self.values = ValueSense(width)


def answer_loss(
    model: XComposer2ForCausalLM,
    embeds_BSD: Tensor,
    batch: dict[str, object],
    config: StageConfig,
    senses: Senses | None = None,
) -> Part:
    """Weighted mean cross-entropy of the answers' tokens, plus what else is taught, by the weights in ``config``.

    Logits are computed for the answers' tokens alone. Only ``tile_weight`` and ``value_weight`` need ``senses``.
    """
    num_layers = len(model.model.layers)
    (early, late), binding = pointing_layers(num_layers), binding_layer(num_layers)
    with (
        watching(early, binding, binding + 1, late) as seen,
        hidden_after(model.model, early) as after_early,
        hidden_after(model.model, binding) as after_binding,
    ):
        hidden_BSD = model.model(inputs_embeds=embeds_BSD, visual_spans=batch["spans"]).last_hidden_state
    is_answer = batch["labels"][:, 1:] != NO_LABEL
    loss, metrics = _said(model.output(hidden_BSD[:, :-1][is_answer]).float(), batch)
    taught: list[tuple[float, Part]] = []
    # What is found by way of something else cannot be known yet by the early layer: taught it, it guessed the column.
    early_tokens = batch["pointed_tokens"].masked_fill(batch["naming_tokens"] != NOWHERE, NOWHERE)
    for layer, tokens in ((early, early_tokens), (late, batch["pointed_tokens"])) if config.pointing_weight else ():
        if (attended := seen[layer]) is not None:
            pointed = pointing_loss(attended, tokens, batch["pointed_heads"], batch["weights"])
            taught.append((config.pointing_weight, _named(f"pointed_right_{layer}", *pointed)))
    for name, layer in (("bound", binding), ("naming", binding + 1)) if config.binding_weight else ():
        if (attended := seen[layer]) is not None:
            taught.append((config.binding_weight, _bound(name, attended, batch[f"{name}_tokens"])))
    if config.value_weight:
        taught.append((config.value_weight, senses.values.loss(after_binding[0], batch["values_at"])))
    if config.tile_weight:
        taught.append((config.tile_weight, senses.tiles.loss(after_early[0], batch["tiles_at"])))
    for weight, (part, figures) in taught:
        loss, metrics = loss + weight * part, metrics | figures
    return loss, metrics


def answer_metrics(logits_MV: Tensor, labels_BS: Tensor) -> dict[str, float]:
    """Share of answer tokens, and of whole answers, that are predicted rightly when the right beginning is given.

    ``logits_MV`` are those that predict the labels, in their order.
    """
    labels = labels_BS[:, 1:]
    is_answer = labels != NO_LABEL
    right = logits_MV.argmax(-1) == labels[is_answer]
    starts = is_answer.clone()
    starts[:, 1:] &= ~is_answer[:, :-1]
    answer_of = starts.flatten().cumsum(0)[is_answer.flatten()] - 1
    wrong = torch.zeros(int(answer_of[-1]) + 1, device=labels_BS.device).index_add_(0, answer_of, (~right).float())
    return {"tokens_right": float(right.float().mean()), "answers_right": float((wrong == 0).float().mean())}


def _said(logits_MV: Tensor, batch: dict[str, object]) -> Part:
    """Of what the answers say; characters that decide where to read count more, and have a figure of their own."""
    labels_BS = batch["labels"]
    is_answer = labels_BS[:, 1:] != NO_LABEL
    weights_M, labels_M = batch["weights"][:, 1:][is_answer], labels_BS[:, 1:][is_answer]
    each_M = F.cross_entropy(logits_MV, labels_M, reduction="none")
    right_M = logits_MV.detach().argmax(-1) == labels_M
    metrics = answer_metrics(logits_MV.detach(), labels_BS) | {"jumps_right": float(right_M[weights_M > 1].float().mean())}
    return (weights_M * each_M).sum() / weights_M.sum(), metrics


def _bound(name: str, attended: Attended, tokens_BS: Tensor) -> Part:
    """Of the last head, which should look at these headings and names; for all of them the same weight."""
    last_head = torch.full_like(tokens_BS, attended.query.shape[1] - 1)
    return _named(f"{name}_right", *pointing_loss(attended, tokens_BS, last_head, torch.ones_like(tokens_BS).float()))


def _named(name: str, loss: Tensor, right: float | None) -> Part:
    return loss, {} if right is None else {name: right}
