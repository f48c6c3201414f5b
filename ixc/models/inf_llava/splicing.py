"""Batches as the released code makes them to train: images in the place of one placeholder each, padded, labelled and cut.

For whoever tunes these weights further; ``ixc/training`` makes its own batches. Source: reference/inf_llava/README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

IGNORED_LABEL = -100


@dataclass(frozen=True, slots=True)
class SplicedBatch:
    """Rows of embeddings, padded with zeros on the right."""

    embeds_BSD: Tensor  # noqa: N815  dimension letters
    attention_mask_BS: Tensor  # noqa: N815
    labels_BS: Tensor  # noqa: N815


def splice_images(
    rows: Sequence[tuple[Tensor, Tensor]],
    image_embeds: Sequence[Tensor],
    embedding: nn.Embedding,
    *,
    image_placeholder: int,
    max_tokens: int,
) -> SplicedBatch:
    """Rows of (ids [S], labels [S]) without padding, one ``image_placeholder`` an image, and embeddings [T, D] of all images.

    A row without an image takes one too and uses nothing of it (reference quirk: text-only samples come with a blank image).
    Rows are cut at ``max_tokens``. Raises ValueError when images are left over or missing.
    """
    num_wanted = sum(max(1, int((ids == image_placeholder).sum())) for ids, _ in rows)
    if num_wanted != len(image_embeds):
        raise ValueError(f"the rows take {num_wanted} images, a text-only row one too, and there are {len(image_embeds)}")
    images = iter(image_embeds)
    spliced = [_splice_row(ids, labels, images, embedding, image_placeholder) for ids, labels in rows]
    spliced = [(embeds[:max_tokens], labels[:max_tokens]) for embeds, labels in spliced]
    lengths = torch.tensor([len(labels) for _, labels in spliced])
    return SplicedBatch(
        nn.utils.rnn.pad_sequence([embeds for embeds, _ in spliced], batch_first=True),
        (torch.arange(int(lengths.max())) < lengths[:, None]).long(),
        nn.utils.rnn.pad_sequence([labels for _, labels in spliced], batch_first=True, padding_value=IGNORED_LABEL),
    )


def _splice_row(
    ids: Tensor, labels: Tensor, images: Iterator[Tensor], embedding: nn.Embedding, image_placeholder: int
) -> tuple[Tensor, Tensor]:
    """One row's embeddings [S', D] and labels [S']."""
    places = (ids == image_placeholder).nonzero().flatten().tolist()
    if not places:
        next(images)
        return embedding(ids), labels
    embeds, new_labels, start = [], [], 0
    for place in places:
        image_TD = next(images)
        embeds += [embedding(ids[start:place]), image_TD]
        new_labels += [labels[start:place], labels.new_full((len(image_TD),), IGNORED_LABEL)]
        start = place + 1
    return torch.cat([*embeds, embedding(ids[start:])]), torch.cat([*new_labels, labels[start:]])
