"""A prompt as the model gets it: text ids and image views in order, comparable with what a cache already holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import ProcessorMixin

from ixc.conversation import ImageView, Prompt
from ixc.imaging.decode import DecodedImage
from ixc.models.xcomposer2 import VisualSpans
from ixc.single_view import ImagePlan


@dataclass(frozen=True, slots=True)
class TextSegment:
    """Consecutive text tokens."""

    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class ImageSegment:
    """All visual tokens of one image at one budget; equal only to the same image at the same budget."""

    view: ImageView
    plan: ImagePlan

    def __len__(self) -> int:
        return self.plan.num_visual_tokens


Segment = TextSegment | ImageSegment


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """Segments in order; text and images need not alternate strictly."""

    segments: tuple[Segment, ...]

    def __len__(self) -> int:
        return sum(len(segment) for segment in self.segments)

    @property
    def num_visual_tokens(self) -> int:
        return sum(len(segment) for segment in self.segments if isinstance(segment, ImageSegment))

    @property
    def text_ids(self) -> list[int]:
        return [token_id for s in self.segments if isinstance(s, TextSegment) for token_id in s.ids]

    @property
    def has_images(self) -> bool:
        return any(isinstance(segment, ImageSegment) for segment in self.segments)

    @property
    def spans(self) -> VisualSpans:
        spans, position = [], 0
        for segment in self.segments:
            if isinstance(segment, ImageSegment):
                spans.append((position, position + len(segment)))
            position += len(segment)
        return VisualSpans.of_row(spans)


def encode_prompt(prompt: Prompt, images: Mapping[str, DecodedImage], processor: ProcessorMixin) -> EncodedPrompt:
    """Tokenize the text parts as the model's family does and plan the images. Raises KeyError for an unknown image."""
    segments: list[Segment] = []
    for index, part in enumerate(prompt.parts):
        if index:
            view = prompt.views[index - 1]
            segments.append(ImageSegment(view, processor.image_processor.plan(images[view.image_id].size_px, view.max_patches)))
        if part:
            segments.append(TextSegment(tuple(processor.encode_part(part, index))))
    return EncodedPrompt(tuple(segments))


def with_generated(segments: Sequence[Segment], ids: Sequence[int]) -> tuple[Segment, ...]:
    """``segments`` followed by generated tokens: what the cache holds after an answer."""
    if ids and segments and isinstance(segments[-1], TextSegment):
        return (*segments[:-1], TextSegment(segments[-1].ids + tuple(ids)))
    return (*segments, TextSegment(tuple(ids))) if ids else tuple(segments)


def common_prefix_length(cached: Sequence[Segment], wanted: Sequence[Segment]) -> int:
    """Tokens at the start that are the same in both. An image counts as a whole or not at all."""
    length = 0
    for have, want in zip(cached, wanted, strict=False):
        if have == want:
            length += len(want)
            continue
        if isinstance(have, TextSegment) and isinstance(want, TextSegment):
            for a, b in zip(have.ids, want.ids, strict=False):
                if a != b:
                    break
                length += 1
        break
    return length


def cut_segments(segments: Sequence[Segment], length: int) -> tuple[Segment, ...]:
    """The segments of the first ``length`` tokens; an image that would be cut in two is left out with what follows."""
    kept: list[Segment] = []
    for segment in segments:
        if len(segment) <= length:
            kept.append(segment)
            length -= len(segment)
            continue
        if isinstance(segment, TextSegment) and length:
            kept.append(TextSegment(segment.ids[:length]))
        break
    return tuple(kept)
