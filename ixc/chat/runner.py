"""The model's steps of one answer: see the images, prefill in chunks, decode. Each looks at the stop flag often."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from ixc.chat.kv_cache import InPlaceCache
from ixc.chat.prompt import EncodedPrompt, ImageSegment
from ixc.chat.prompt_lookup import PromptLookup, decode_with_lookup
from ixc.chat.sampling import TokenReader, TokenSampler
from ixc.chat.static_decode import StaticDecoder
from ixc.conversation import ImageView
from ixc.models.xcomposer2 import XComposer2ForCausalLM
from ixc.models.xcomposer2.token_step import TokenStep, has_token_step
from ixc.settings import GenerationSettings
from ixc.tiling import Grid

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def _never() -> bool:
    return False


def _ignore(num_done: int, num_total: int) -> None:
    pass


class Stopped(Exception):
    """The stop flag was set."""


class ModelRunner:
    """Runs one request at a time on one model; keeps nothing between requests.

    ``should_stop`` is asked between passes of the vision tower, prefill chunks and tokens; left out, nothing stops. ``static``
    decodes as far as its buffers go; beyond them, or without it, ``TokenStep`` does, or the model's ordinary forward where
    there is none.
    """

    def __init__(
        self,
        model: XComposer2ForCausalLM,
        *,
        prefill_chunk_tokens: int,
        views_per_pass: int,
        stop_ids: frozenset[int],
        static: StaticDecoder | None = None,
    ) -> None:
        self.model = model
        self.prefill_chunk_tokens = prefill_chunk_tokens
        self.views_per_pass = views_per_pass
        self.stop_ids = stop_ids
        self.static = static

    def new_cache(self, capacity: int) -> InPlaceCache:
        return InPlaceCache(self.model.config.num_hidden_layers, capacity)

    def embed_image(
        self, tiles_NCHW: Tensor, grid: Grid, should_stop: Callable[[], bool] = _never, on_progress: Progress = _ignore
    ) -> Tensor:
        """One image's uint8 tiles -> its visual tokens [num_visual_tokens, D]. Raises Stopped."""
        views_NCHW = self.model.make_views(tiles_NCHW.to(self.model.device), grid)
        features = []
        for chunk_NCHW in views_NCHW.split(self.views_per_pass):
            _raise_if(should_stop())
            features.append(self.model.encode_views(chunk_NCHW))
            on_progress(sum(map(len, features)), len(views_NCHW))
        embeds = self.model.vision_proj(self.model.lay_out(torch.cat(features), grid))
        return embeds.to(self.model.device)  # of a model that is spread, tower and projector may be elsewhere

    def prefill(
        self,
        prompt: EncodedPrompt,
        image_embeds: Mapping[ImageView, Tensor],
        cache: InPlaceCache,
        should_stop: Callable[[], bool] = _never,
        on_progress: Progress = _ignore,
    ) -> Tensor:
        """Run what ``cache`` does not hold yet; float32 logits [V] after the prompt's last token.

        Raises Stopped (the cache then holds the chunks that were done), ValueError when there is nothing left to run.
        """
        hidden_D = self.fill_cache(prompt, image_embeds, cache, len(prompt), should_stop, on_progress)
        if hidden_D is None:
            raise ValueError("the cache already holds the whole prompt; its last token must be run again for its logits")
        return self.model.output(hidden_D).float().to(self.model.device)  # its last layers may be elsewhere

    def fill_cache(
        self,
        prompt: EncodedPrompt,
        image_embeds: Mapping[ImageView, Tensor],
        cache: InPlaceCache,
        length: int,
        should_stop: Callable[[], bool] = _never,
        on_progress: Progress = _ignore,
    ) -> Tensor | None:
        """Run the prompt's positions from what ``cache`` holds up to ``length``, in chunks.

        Returns the last position's hidden state [D], None when the cache was that long already. Raises Stopped.
        """
        spans = prompt.spans
        hidden_D = None
        while cache.length < length:
            _raise_if(should_stop())
            start, stop = cache.length, min(cache.length + self.prefill_chunk_tokens, length)
            output = self.model.model(
                inputs_embeds=self._embeds(prompt, image_embeds, start, stop),
                past_key_values=cache,
                visual_spans=spans.clip(start, stop) or None,
            )
            hidden_D = output.last_hidden_state[0, -1]
            on_progress(stop, length)
        return hidden_D

    def decode(
        self,
        logits_V: Tensor,
        sampler: TokenSampler,
        cache: InPlaceCache,
        max_new_tokens: int,
        should_stop: Callable[[], bool] = _never,
        lookup: PromptLookup | None = None,
    ) -> Iterator[int]:
        """Token ids until one of ``stop_ids`` (not yielded) or ``max_new_tokens``; with ``lookup`` several may come at once.

        Raises Stopped. When it ends, is stopped or is closed, the cache holds the prompt and a part of the answer's tokens from
        its start, perhaps one that was not yielded. If that takes more memory than there is, it raises what the device raises.
        """
        if lookup is not None:
            ids = self._decode_with_lookup(logits_V, sampler, cache, lookup)
        elif self.static is not None and cache.length < self.static.capacity:
            ids = self._decode_ahead(logits_V, sampler, cache, max_new_tokens, self.static)
        else:
            ids = self._decode_plainly(logits_V, sampler, cache)
        try:
            for _ in range(max_new_tokens):
                _raise_if(should_stop())
                token_id = next(ids)
                if token_id in self.stop_ids:
                    break
                yield token_id
        finally:
            ids.close()  # what it still does to the cache may fail; left to the garbage collector, nobody would hear of it

    def _decode_plainly(self, logits_V: Tensor, sampler: TokenSampler, cache: InPlaceCache) -> Iterator[int]:
        """Without end."""
        if self.static is not None:
            logger.info("decoding goes on without fixed buffers after %d of %d positions", cache.length, self.static.capacity)
        run = self._token_step(cache)
        while True:
            token_id = sampler.next_token(logits_V)
            yield token_id
            logits_V = run(token_id)

    def _token_step(self, cache: InPlaceCache) -> Callable[[int], Tensor]:
        """From a text id to the float32 logits [V] after it."""
        if not has_token_step(self.model.model):
            return lambda token_id: self._logits_after([token_id], cache)[0]
        step = TokenStep(self.model.model)
        return lambda token_id: self.model.output(step(token_id, cache)[0])

    def _decode_ahead(
        self, logits_V: Tensor, sampler: TokenSampler, cache: InPlaceCache, max_new_tokens: int, static: StaticDecoder
    ) -> Iterator[int]:
        """Each step is started before its token is read, so that the device never waits for the host.

        Where the buffers end before the answer may, the rest is decoded plainly: most answers are shorter than they may be.
        """
        reader = TokenReader(self.model.device)
        token_1 = sampler.sample(logits_V)
        reader.start(token_1)  # before the prompt is copied into the buffers, which the first token need not wait for
        num_steps = min(max_new_tokens - 1, static.capacity - cache.length)
        with static.decoding(cache, num_steps) as step:
            for _ in range(num_steps):
                token_1 = sampler.sample(step(token_1))
                yield reader.wait()
                reader.start(token_1)
            token_id = reader.wait()
            yield token_id
        yield from self._decode_plainly(self._token_step(cache)(token_id), sampler, cache)

    def _decode_with_lookup(
        self, logits_V: Tensor, sampler: TokenSampler, cache: InPlaceCache, lookup: PromptLookup
    ) -> Iterator[int]:
        """Without end."""
        step = self._token_step(cache)
        num_run = 0

        def run(ids: Sequence[int]) -> Tensor:
            nonlocal num_run
            num_run = len(ids)
            return step(ids[0])[None] if num_run == 1 else self._logits_after(ids, cache)

        def keep(num_kept: int) -> None:
            cache.truncate(cache.length - num_run + num_kept)

        return decode_with_lookup(lookup, sampler.next_token(logits_V), run, sampler.next_token, keep)

    def beam_search(
        self,
        prompt: EncodedPrompt,
        last_embeds_D: Tensor,
        cache: InPlaceCache,
        settings: GenerationSettings,
        max_new_tokens: int,
        should_stop: Callable[[], bool] = _never,
    ) -> list[int]:
        """The best of ``num_beams`` answers, by transformers' ``generate`` over a cache of all but the prompt's last token.

        Raises Stopped.
        """
        config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            num_beams=settings.num_beams,
            do_sample=False,
            repetition_penalty=settings.repetition_penalty,
            eos_token_id=sorted(self.stop_ids),
            pad_token_id=self.model.config.pad_token_id,
        )
        options = {
            "generation_config": config,
            "past_key_values": cache.repeated(settings.num_beams),
            "attention_mask": torch.ones(1, len(prompt), dtype=torch.long, device=self.model.device),
            "stopping_criteria": StoppingCriteriaList([_StopFlagCriteria(should_stop)]),
        }
        with _without_own_settings(self.model):
            if prompt.has_images:
                embeds_1SD = last_embeds_D.new_zeros(1, len(prompt), last_embeds_D.shape[-1])  # only the last one is run
                embeds_1SD[0, -1] = last_embeds_D
                ids = self.model.generate(inputs_embeds=embeds_1SD, **options)[0].tolist()
            else:
                ids = self.model.generate(torch.tensor([prompt.text_ids], device=self.model.device), **options)[0].tolist()
                ids = ids[len(prompt) :]
        _raise_if(should_stop())
        end = next((index for index, token_id in enumerate(ids) if token_id in self.stop_ids), len(ids))
        return ids[:end]

    def embed_ids(self, ids: Sequence[int]) -> Tensor:
        """Text ids -> [len(ids), D]."""
        return self.model.model.tok_embeddings(torch.tensor(ids, dtype=torch.long, device=self.model.device))

    def _logits_after(self, ids: Sequence[int], cache: InPlaceCache) -> Tensor:
        """Run text ids; float32 logits after each [len(ids), V]."""
        output = self.model.model(inputs_embeds=self.embed_ids(ids)[None], past_key_values=cache)
        return self.model.output(output.last_hidden_state[0]).float().to(self.model.device)

    def _embeds(self, prompt: EncodedPrompt, image_embeds: Mapping[ImageView, Tensor], start: int, stop: int) -> Tensor:
        """Embeddings of prompt positions start to stop, [1, stop - start, D]."""
        pieces, offset = [], 0
        for segment in prompt.segments:
            first, last = max(start - offset, 0), min(stop - offset, len(segment))
            if first < last:
                if isinstance(segment, ImageSegment):
                    pieces.append(image_embeds[segment.view][first:last])
                else:
                    pieces.append(self.embed_ids(segment.ids[first:last]))
            offset += len(segment)
        return torch.cat(pieces)[None]


class _StopFlagCriteria(StoppingCriteria):
    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        return torch.full((input_ids.shape[0],), self._should_stop(), device=input_ids.device)


@contextmanager
def _without_own_settings(model: PreTrainedModel) -> Iterator[None]:
    """``generate`` fills what its caller left open from the checkpoint's generation_config.json.

    Without ``use_cache`` it would run a text prompt again behind a cache that holds it, and so on.
    """
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _raise_if(is_stopped: bool) -> None:
    if is_stopped:
        raise Stopped
