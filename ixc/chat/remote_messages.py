"""A question in its conversation as the body of an OpenAI-compatible request."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from ixc.chat.interface import ModelInfo
from ixc.chat.request import ChatRequest
from ixc.conversation import ImageView, Turn, place_views, whole_characters
from ixc.errors import ImageError
from ixc.settings import MEGABYTE, GenerationSettings

VLLM_FIELD = "mm_processor_kwargs"
"""Where vLLM has what its processors are told."""
OWN_FIELDS = frozenset(("max_patches", "repetition_penalty", "num_beams", VLLM_FIELD))
"""What a body may have beyond OpenAI's fields; strict servers refuse it."""
_FAST_PNG = 1
"""zlib level: the picture goes over the wire once, so that time matters more than bytes."""
_LARGEST_PNG_BYTES = 16 * MEGABYTE
"""A photograph as PNG is several times the file that was uploaded, and servers limit what they take."""
_JPEG_QUALITY = 95


def encode_image(pixels_HWC: np.ndarray) -> str:
    """RGB pixels as a data: URL, without loss, so that the server sees what the page showed; a large photograph as JPEG."""
    image = Image.fromarray(pixels_HWC)
    buffer, kind = io.BytesIO(), "png"
    image.save(buffer, "PNG", compress_level=_FAST_PNG)
    if buffer.tell() > _LARGEST_PNG_BYTES:
        buffer, kind = io.BytesIO(), "jpeg"
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def request_body(model: str, request: ChatRequest, image_url: Callable[[str], str], info: ModelInfo) -> dict[str, object]:
    """The JSON body of a streamed request. ``image_url`` gives the data: URL of an image id; ``info`` is the server's model.

    The budget goes out twice: as ``max_patches``, this project's field, and as vLLM's ``mm_processor_kwargs``. One request has
    one budget: images of earlier turns are seen at the present one. Raises ImageError for an image that is no longer there.
    """
    asked = (*request.turns, Turn(request.question.strip(), "", request.view, request.more_views))
    groups = place_views([turn.views for turn in asked])
    if any(view.image_id not in request.images for group in groups.values() for view in group):
        raise ImageError("An image of this conversation is no longer here; upload it again or begin a new chat.")
    messages: list[dict[str, object]] = []
    if request.system or info.default_system:
        messages.append({"role": "system", "content": whole_characters(request.system)})
    for index, turn in enumerate(asked):
        messages.append(
            {"role": "user", "content": _content(whole_characters(turn.question), groups.get(index, ()), image_url)}
        )
        if index < len(request.turns):
            messages.append({"role": "assistant", "content": whole_characters(turn.answer)})
    body: dict[str, object] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(request.generation, info.default_generation),
    }
    budget = request.view.max_patches if request.view else next((v.max_patches for g in groups.values() for v in g), None)
    if budget is not None:
        body |= {"max_patches": budget, VLLM_FIELD: {"max_patches": budget}}
    return body


def _content(text: str, views: tuple[ImageView, ...], image_url: Callable[[str], str]) -> object:
    if not views:
        return text
    images = [{"type": "image_url", "image_url": {"url": image_url(view.image_id)}} for view in views]
    return [*images, {"type": "text", "text": text}]


def _sampling(generation: GenerationSettings, default: GenerationSettings) -> dict[str, object]:
    """OpenAI's names; what they lack goes by the names that this project and vLLM share. ``default`` is the server's own."""
    sampling: dict[str, object] = {
        "max_tokens": generation.max_new_tokens,
        "temperature": 0 if generation.is_greedy or generation.num_beams > 1 else generation.temperature,
        "top_p": generation.top_p,
        "repetition_penalty": generation.repetition_penalty,
    }
    if generation.seed is not None:
        sampling["seed"] = generation.seed
    if max(generation.num_beams, default.num_beams) > 1:
        sampling["num_beams"] = generation.num_beams
    return sampling
