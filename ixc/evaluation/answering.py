"""Answers as the benchmark runners get them: another prompt than the chat's, beams, no repetition penalty.

Source: reference/ixc2_vl/README.md, "Official benchmark prompt"; reference/ixc2_4khd/README.md, "Prompt (chat)", at its end.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ixc.chat.engine import Engine
from ixc.chat.kv_cache import InPlaceCache
from ixc.chat.memory import is_out_of_memory
from ixc.chat.prompt import EncodedPrompt, ImageSegment, TextSegment
from ixc.chat.runner import ModelRunner
from ixc.chat.sampling import TokenSampler
from ixc.chat.text_stream import TextStream
from ixc.conversation import TURN_END, ImageView
from ixc.errors import ConversationTooLong, ImageTooLarge, ImageUnreadable, OutOfMemory
from ixc.evaluation.tasks import evaluation_prompt
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings

MAX_MEGAPIXELS = 500
"""Of a benchmark's own images, which nobody sends as an attack; in RGB these are 1.5 GB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and what it took."""

    text: str
    num_prompt_tokens: int
    num_new_tokens: int
    elapsed_ms: float


@dataclass(slots=True)
class _SeenImage:
    """The image of the last question, and the keys and values of BOS and image, which the next question about it reuses."""

    path: Path
    segment: ImageSegment
    cache: InPlaceCache


class ReferenceAnswerer:
    """Answers questions about image files with the engine's model, one at a time, in the thread that asks.

    It ends an answer where the runners do: generation runs to ``</s>`` alone and the text is cut at the end of the turn. With
    beams that is not the same as stopping there, because a beam's score is divided by its length.
    """

    def __init__(self, engine: Engine, max_patches: int, generation: GenerationSettings) -> None:
        self._processor = engine.processor
        tokenizer = engine.processor.tokenizer
        self._admission = engine.admission
        self._max_patches = max_patches
        self._generation = generation
        self._turn_end_id = tokenizer.convert_tokens_to_ids(TURN_END)
        self._runner = ModelRunner(
            engine.runner.model,
            prefill_chunk_tokens=engine.runner.prefill_chunk_tokens,
            views_per_pass=engine.runner.views_per_pass,
            stop_ids=frozenset((tokenizer.eos_token_id,)),
            static=engine.runner.static,
        )
        self._seen: _SeenImage | None = None

    def answer(self, image: Path, question: str) -> Answer:
        """Raises ImageUnreadable, ImageTooLarge, ConversationTooLong or OutOfMemory."""
        started_s = time.perf_counter()
        try:
            with torch.inference_mode():
                return self._answer(image, question, started_s)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise _out_of_memory(image) from error

    def _answer(self, image: Path, question: str, started_s: float) -> Answer:
        ids = self._processor.tokenizer(evaluation_prompt(question), add_special_tokens=False)["input_ids"]
        if self._seen is None or self._seen.path != image:
            self._seen = None  # free the old one first
            self._seen = self._see(image, len(ids))
        seen = self._seen
        prompt = self._prompt(seen.segment, ids)
        max_new_tokens = self._max_new_tokens(prompt, image)
        seen.cache.truncate(1 + len(seen.segment))
        new_ids = self._generate(prompt, seen.cache, max_new_tokens)
        text_ids = itertools.takewhile(lambda token_id: token_id != self._turn_end_id, new_ids)
        elapsed_ms = (time.perf_counter() - started_s) * 1000
        return Answer(self._text(text_ids), len(prompt), len(new_ids), elapsed_ms)

    def _see(self, path: Path, num_text_tokens: int) -> _SeenImage:
        """Run BOS and image through the model."""
        image = DecodedImage.from_pixels(load_pixels(path))
        plan = self._processor.image_processor.plan(image.size_px, self._max_patches)
        segment = ImageSegment(ImageView(image.image_id, self._max_patches), plan)
        prompt = self._prompt(segment, ())
        max_new_tokens = self._max_new_tokens(prompt, path)
        num_beams = self._generation.num_beams
        if (shortage := self._admission.shortage(prompt, num_beams)) is not None:
            needed_gb, free_gb = (num_bytes / 1e9 for num_bytes in shortage)
            raise OutOfMemory(
                f"A question about {path.name} needs about {needed_gb:.1f} GB of memory and {free_gb:.1f} GB are free; lower "
                "the max patches or the number of beams."
            )
        tiles_NCHW = torch.from_numpy(self._processor.image_processor.cut(image.pixels_HWC, plan))
        embeds_TD = self._runner.embed_image(tiles_NCHW, plan.grid)
        cache = self._runner.new_cache(len(prompt) + num_text_tokens + max_new_tokens)
        self._runner.fill_cache(prompt, {segment.view: embeds_TD}, cache, len(prompt))
        return _SeenImage(path, segment, cache)

    def _prompt(self, segment: ImageSegment, text_ids: Sequence[int]) -> EncodedPrompt:
        bos = TextSegment((self._processor.tokenizer.bos_token_id,))
        return EncodedPrompt((bos, segment, TextSegment(tuple(text_ids))))

    def _generate(self, prompt: EncodedPrompt, cache: InPlaceCache, max_new_tokens: int) -> list[int]:
        """New ids, with what comes after the end of the turn. ``cache`` holds the image."""
        runner, settings = self._runner, self._generation
        if settings.num_beams > 1:
            runner.fill_cache(prompt, {}, cache, len(prompt) - 1)
            last_D = runner.embed_ids(prompt.text_ids[-1:])[0]
            return runner.beam_search(prompt, last_D, cache, settings, max_new_tokens)
        logits_V = runner.prefill(prompt, {}, cache)
        sampler = TokenSampler(settings, [], runner.model.device)
        ids = []
        with closing(runner.decode(logits_V, sampler, cache, max_new_tokens)) as tokens:
            for token_id in tokens:
                ids.append(token_id)
                if token_id == self._turn_end_id:  # greedy: what follows cannot change what came before
                    break
        return ids

    def _text(self, ids: Iterable[int]) -> str:
        stream = TextStream(self._processor.tokenizer.token_bytes)
        return ("".join(stream.push(token_id) for token_id in ids) + stream.finish()).strip()

    def _max_new_tokens(self, prompt: EncodedPrompt, image: Path) -> int:
        """What the context has room for. Raises ConversationTooLong when that is nothing."""
        limit = self._runner.model.config.max_context_tokens
        if len(prompt) >= limit:
            raise ConversationTooLong(
                f"A question about {image.name} has {len(prompt):,} tokens, the model takes {limit:,}; lower the max patches."
            )
        return min(self._generation.max_new_tokens, limit - len(prompt))


def load_pixels(path: Path) -> np.ndarray:
    """uint8 RGB [H, W, 3], opened as the reference runners do: by Pillow's ``convert("RGB")`` alone.

    Unlike the app's decoder this neither turns the image upright nor puts white behind transparency. Raises ImageUnreadable
    and ImageTooLarge.
    """
    try:
        with _pillows_limit(MAX_MEGAPIXELS), Image.open(path) as image:
            if image.width * image.height > MAX_MEGAPIXELS * 1e6:
                raise _too_large(path)
            return np.array(image.convert("RGB"))
    except (ImageTooLarge, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise ImageUnreadable(f"The image {path} cannot be opened; copy or download it again.") from error


@contextmanager
def _pillows_limit(megapixels: int) -> Iterator[None]:
    """Within it Pillow opens what it otherwise takes for an attack: posters of 200 megapixels occur among infographics."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, int(megapixels * 1e6)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _too_large(path: Path) -> ImageTooLarge:
    return ImageTooLarge(f"The image {path} has more than the {MAX_MEGAPIXELS} megapixels that are opened; downscale it.")


def _out_of_memory(image: Path) -> OutOfMemory:
    return OutOfMemory(f"The device ran out of memory at {image.name}; lower the max patches or the number of beams.")
