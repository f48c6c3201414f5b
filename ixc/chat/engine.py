"""The engine: one model, one worker thread, many sessions; questions in, typed events out."""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from ixc.chat.admission import Admission, Held
from ixc.chat.costs import CostModel
from ixc.chat.events import Event, Finished, FinishReason, PrefillProgress, TextDelta
from ixc.chat.interface import ChatEngine, CostEstimate, ModelInfo, PromptPreview, ReadAheadOutcome
from ixc.chat.job import Job
from ixc.chat.kv_cache import ANSWER_ROOM, InPlaceCache
from ixc.chat.memory import bounded_cache, give_memory_back, is_out_of_memory, is_usable, make_current, wait_for_devices
from ixc.chat.prefix import Prefix
from ixc.chat.prompt import EncodedPrompt, ImageSegment, TextSegment, common_prefix_length, cut_segments
from ixc.chat.prompt_lookup import PromptLookup
from ixc.chat.request import ChatRequest, StopFlag
from ixc.chat.runner import ModelRunner, Stopped
from ixc.chat.sampling import TokenSampler
from ixc.chat.store import CacheStore
from ixc.chat.text_stream import TextStream
from ixc.conversation import ImageView
from ixc.errors import DeviceFailed, EngineBusy, IxcError, OutOfMemory
from ixc.models.precision import parse_precision, weight_bytes
from ixc.models.xcomposer2 import XComposer2Processor
from ixc.settings import Settings
from ixc.single_view import ImagePlan

logger = logging.getLogger(__name__)

_PREFIX = "prefix"
_PROBES = ("A", "9")
"""Questions that begin with different tokens, whatever stands before them."""
_FAILED = "The GPU failed and cannot answer any more; the app has to be started again."
_IN_USE_S = 300.0
"""What somebody used so lately is not dropped for a question that nobody has asked yet."""


class Engine(ChatEngine):
    """Answers questions one after the other, in the order they came; what a session can reuse stays in a bounded store.

    Thread-safe. Close it to end its threads.
    """

    reads_ahead = True

    def __init__(
        self, runner: ModelRunner, processor: XComposer2Processor, info: ModelInfo, costs: CostModel, settings: Settings
    ) -> None:
        self.info = info
        self.runner = runner
        self.processor = processor
        self._costs = costs
        self._max_waiting = settings.max_waiting
        model = runner.model
        self._weight_bytes = weight_bytes(model, parse_precision(settings.precision), model.dtype)
        self._store = CacheStore(bounded_cache(settings.cache, model.device))
        self.admission = Admission(
            processor,
            costs,
            runner.model.device,
            runner.model.config.max_context_tokens,
            held=self._held,
            spare_bytes=self._store.bytes_of_others,
            make_room=self._make_room,
        )
        self._worker = ThreadPoolExecutor(1, "ixc-model", initializer=make_current, initargs=(runner.model.device,))
        self._jobs: list[Job] = []
        self._lock = threading.Lock()
        self._has_failed = False
        self._closed = threading.Event()
        threading.Thread(target=self._store.expire_until, args=(self._closed,), name="ixc-expiry", daemon=True).start()

    # --- what callers use -----------------------------------------------------------------------------------------

    def answer(self, request: ChatRequest, stop: StopFlag) -> Iterator[Event]:
        """Stream the answer's events; see ``ixc.chat.events``.

        Ends early, with a Finished event, within one token, vision pass or prefill chunk after ``stop`` is set; closing the
        iterator sets it. Raises EmptyQuestion, ConversationTooLong, ImageError, EngineBusy, OutOfMemory or DeviceFailed.
        """
        if (failure := self.failure) is not None:
            raise failure
        request = self._asked(request)
        job = Job(request, self.admission.admit(request), stop, time.perf_counter())
        with self._lock:
            # Stopped ones end at once, and what is read ahead of this question is its own work, or gives way.
            num_ahead = sum(not (ahead.only_reads or ahead.stop.is_set) for ahead in self._jobs)
            if num_ahead > self._max_waiting:
                raise EngineBusy(f"{self._max_waiting} questions are already waiting; try again in a moment.")
            self._jobs.append(job)
        try:
            if num_ahead:
                job.events.put(PrefillProgress("waiting", 0, num_ahead))
            self._worker.submit(self._work, job)
            while True:
                event = job.events.get()
                if isinstance(event, BaseException):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            stop.set()

    def read_ahead(self, request: ChatRequest, stop: StopFlag) -> ReadAheadOutcome:
        """See ``ChatEngine``. Does nothing while a question is under way, or if what it reads would not fit into the memory."""
        try:
            prompt = self._beginning(self._asked(request).without_missing_images())
        except IxcError:
            return ReadAheadOutcome.IN_VAIN
        held = self._held(request.session_id, prompt, len(prompt))
        if held.num_tokens == len(prompt):
            return ReadAheadOutcome.HELD
        fits = len(prompt) < self.runner.model.config.max_context_tokens and self.admission.shortage(prompt, held=held) is None
        if not fits:
            return ReadAheadOutcome.IN_VAIN
        job = Job(request, prompt, stop, time.perf_counter(), only_reads=True)
        with self._lock:
            if self._jobs:
                return ReadAheadOutcome.GAVE_WAY
            self._jobs.append(job)
        self._worker.submit(self._work, job)
        while not isinstance(event := job.events.get(), Finished | BaseException):
            pass
        if isinstance(event, Finished) and event.reason is FinishReason.STOPPED:
            return ReadAheadOutcome.GAVE_WAY
        return ReadAheadOutcome.HELD if job.is_kept else ReadAheadOutcome.IN_VAIN

    def forget(self, session_id: str) -> None:
        """Free what is kept for a session, also what a running answer would leave behind, and stop that answer."""
        with self._lock:
            for job in self._jobs:
                if job.request.session_id == session_id:
                    job.is_forgotten = True
                    job.stop.set()
        self._store.forget(session_id)

    def estimate(self, plan: ImagePlan, num_text_tokens: int = 0) -> CostEstimate:
        """Expected memory and time to first token of a first question about an image cut by ``plan``."""
        return self._costs.estimate(plan, num_text_tokens)

    def preview(self, request: ChatRequest) -> PromptPreview:
        """See ``ChatEngine``. The time is for what is not kept of the session."""
        request = self._asked(request).without_missing_images()
        prompt = self.admission.encode(request)
        views = [segment.view if isinstance(segment, ImageSegment) else None for segment in prompt.segments]
        places = [index for index, view in enumerate(views) if view is not None and view == request.view]
        num_before = sum(map(len, prompt.segments[: places[-1]])) if places else 0
        num_after = len(prompt) - num_before - (len(prompt.segments[places[-1]]) if places else 0)
        cost = self.admission.expected(prompt, self._held(request.session_id, prompt))
        return PromptPreview(num_before, num_after, len(request.turns), cost)

    @property
    def failure(self) -> DeviceFailed | None:
        return DeviceFailed(_FAILED) if self._has_failed else None

    def count_text_tokens(self, text: str) -> int:
        return len(self.processor.tokenizer(text)["input_ids"])

    def memory_report(self) -> dict[str, int]:
        """Sessions, entries and bytes in the caches, bytes of the weights, and requests under way."""
        with self._lock:
            num_jobs = sum(not job.only_reads for job in self._jobs)
        return {**self._store.report(), "model_bytes": self._weight_bytes, "requests": num_jobs}

    def close(self) -> None:
        """Stop running answers and end the threads."""
        self._closed.set()
        with self._lock:
            for job in self._jobs:
                job.stop.set()
        self._worker.shutdown(wait=True)

    def _asked(self, request: ChatRequest) -> ChatRequest:
        """What the model is told, and under which names what it has read of the images is kept. Raises TooManyImages."""
        return self.told(request).at_least_budgets(self.layout)

    # --- what is kept ---------------------------------------------------------------------------------------------

    def _held(self, session_id: str, prompt: EncodedPrompt, length: int | None = None) -> Held:
        """What the first ``length`` tokens of ``prompt`` would find if they ran now; None: all but the last."""
        prefix: Prefix | None = self._store.get(session_id, _PREFIX)
        views = {segment.view for segment in prompt.segments if isinstance(segment, ImageSegment)}
        there = frozenset(view for view in views if self._store.get(session_id, _image_key(view)) is not None)
        if prefix is None:
            return Held(views=there)
        wanted = cut_segments(prompt.segments, len(prompt) - 1 if length is None else length)
        return Held(common_prefix_length(prefix.segments, wanted), prefix.cache.capacity, there)

    def _beginning(self, request: ChatRequest) -> EncodedPrompt:
        """What the prompts of two different questions have in common. Raises IxcError."""
        one, other = (self.admission.encode(replace(request, question=question)).segments for question in _PROBES)
        return EncodedPrompt(cut_segments(one, common_prefix_length(one, other)))

    def _make_room(self, session_id: str, num_bytes: float) -> None:
        """Free what other sessions keep, longest unused first: it only saves them time."""
        if self._store.free(num_bytes, except_session=session_id):
            give_memory_back()

    # --- in the worker --------------------------------------------------------------------------------------------

    def _work(self, job: Job) -> None:
        outcome: Finished | BaseException
        try:
            outcome = self._outcome(job)
        except BaseException as error:  # noqa: BLE001 - after a failure, giving memory back may fail too; the caller must not wait
            outcome = error
        with self._lock:  # before the last event, so that whoever got it finds the engine done with the request
            self._jobs.remove(job)
        job.events.put(outcome)

    def _outcome(self, job: Job) -> Finished | BaseException:
        try:
            with torch.inference_mode():
                if job.only_reads:
                    return self._read(job, time.perf_counter())
                self.admission.check_memory(job.prompt, job.request)  # now that nothing else holds any for a while
                return self._run(job, time.perf_counter())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            if not is_out_of_memory(error):
                return self._checked(error)
            logger.warning("out of memory on %s: %s", self.info.device, type(error).__name__)
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of the passes that were under way
        return self._out_of_memory(job)

    def _checked(self, error: BaseException) -> BaseException:
        """``error``, or that the device is at its end."""
        if not isinstance(error, RuntimeError) or is_usable(self.runner.model.device):
            return error
        logger.critical("%s works no more for this process: start it again", self.info.device, exc_info=error)
        self._has_failed = True
        return DeviceFailed(_FAILED)

    def _run(self, job: Job, started_s: float) -> Finished:
        session_id, prompt = job.request.session_id, job.prompt
        prefix = self._usable_prefix(session_id, prompt, len(prompt) - 1)  # the last one runs again, for its logits
        num_cached = prefix.cache.length
        first_token_s: float | None = None
        reason = FinishReason.STOPPED
        try:
            for token_id, reason_if_last in self._tokens(job, prefix.cache):
                first_token_s = first_token_s or time.perf_counter()
                reason = reason_if_last
                if token_id is not None:
                    job.generated_ids.append(token_id)
        except Stopped:
            reason = FinishReason.STOPPED
        # Not after an error: a pass that broke off leaves a cache whose first layers hold more than its last.
        self._keep(job, prefix)
        ended_s = time.perf_counter()
        is_streamed = job.request.generation.num_beams == 1  # else the first token comes after the whole search
        if first_token_s is not None and num_cached == 0 and is_streamed:
            self._observe(prompt, first_token_s - started_s)
        return Finished(reason, job.stats(num_cached, started_s, first_token_s, ended_s))

    def _read(self, job: Job, started_s: float) -> Finished:
        """Fill the session's cache with the beginning of its next prompt."""
        prompt, reason = job.prompt, FinishReason.STOPPED
        prefix = self._usable_prefix(job.request.session_id, prompt, len(prompt))
        num_cached = prefix.cache.length
        try:
            embeds = self._image_embeds(job, num_cached)
            self.runner.fill_cache(
                prompt, embeds, prefix.cache, len(prompt), lambda: self._is_over(job), self._tell_of("prefill", job)
            )
            reason = FinishReason.END_OF_TURN
        except Stopped:
            pass
        self._keep(job, prefix)
        wait_for_devices(self.runner.model)  # no token was read that had to be there
        ended_s = time.perf_counter()
        if reason is FinishReason.END_OF_TURN and num_cached == 0:
            self._observe(prompt, ended_s - started_s)
        return Finished(reason, job.stats(num_cached, started_s, None, ended_s))

    def _is_over(self, job: Job) -> bool:
        """Whether to stop: told to, or reading what the question that came meanwhile does not want, or no longer."""
        if job.stop.is_set:
            return True
        with self._lock:
            came = [each for each in self._jobs if job.only_reads and each is not job]
        return not all(each.goes_on_from(job) for each in came)

    def _observe(self, prompt: EncodedPrompt, seconds: float) -> None:
        """All of ``prompt`` was read in that time: the next estimates know it."""
        num_views = sum(s.plan.num_views for s in prompt.segments if isinstance(s, ImageSegment))
        self._costs.observe(num_views, len(prompt), seconds * 1000)

    def _tell_of(self, stage: str, job: Job) -> Callable[[int, int], None]:
        """Progress of ``stage`` for whoever waits: of what is read ahead, the session's question that came meanwhile."""

        def on_progress(num_done: int, num_total: int) -> None:
            with self._lock:
                waiting = [each for each in self._jobs if each.request.session_id == job.request.session_id]
            for each in waiting if job.only_reads else (job,):
                each.events.put(PrefillProgress(stage, num_done, num_total))

        return on_progress

    def _tokens(self, job: Job, cache: InPlaceCache) -> Iterator[tuple[int | None, FinishReason]]:
        """Generated ids with the reason that holds if no more follow; text goes out as events. Raises Stopped."""
        request, prompt, runner = job.request, job.prompt, self.runner
        settings = request.generation
        max_new = min(settings.max_new_tokens, runner.model.config.max_context_tokens - len(prompt))
        embeds = self._image_embeds(job, cache.length)
        on_progress = self._tell_of("prefill", job)
        if settings.num_beams > 1:
            runner.fill_cache(prompt, embeds, cache, len(prompt) - 1, lambda: job.stop.is_set, on_progress)
            last_D = runner.embed_ids(prompt.text_ids[-1:])[0]
            ids = runner.beam_search(prompt, last_D, cache, settings, max_new, lambda: job.stop.is_set)
        else:
            logits_V = runner.prefill(prompt, embeds, cache, lambda: job.stop.is_set, on_progress)
            sampler = TokenSampler(settings, [] if prompt.has_images else prompt.text_ids, runner.model.device)
            if settings.prompt_lookup_tokens:
                pieces = [segment.ids for segment in prompt.segments if isinstance(segment, TextSegment)]
                job.lookup = PromptLookup(pieces, settings.prompt_lookup_tokens)
            ids = runner.decode(logits_V, sampler, cache, max_new, lambda: job.stop.is_set, job.lookup)
        stream = TextStream(self.processor.tokenizer.token_bytes)
        num_new = 0
        for token_id in ids:
            num_new += 1
            if text := stream.push(token_id):
                job.events.put(TextDelta(text))
            yield token_id, FinishReason.LENGTH
        if text := stream.finish():
            job.events.put(TextDelta(text))
        yield None, FinishReason.LENGTH if num_new >= max_new else FinishReason.END_OF_TURN

    def _usable_prefix(self, session_id: str, prompt: EncodedPrompt, length: int) -> Prefix:
        """The session's cache cut to what it shares with the first ``length`` tokens of ``prompt``, or a new one."""
        prefix: Prefix | None = self._store.take(session_id, _PREFIX)
        if prefix is None:
            return Prefix((), self.runner.new_cache(len(prompt) + ANSWER_ROOM))
        prefix.cut_to(prompt, length)
        return prefix

    def _keep(self, job: Job, prefix: Prefix) -> None:
        """Put the cache back with a true description of what it holds, unless its layers disagree about that."""
        if not prefix.cache.is_whole:
            logger.warning("a session's keys and values are not kept: the layers hold different numbers of positions")
            return
        prefix.settle(job.prompt, job.generated_ids)
        if prefix.cache.length:
            job.is_kept = self._put(job, _PREFIX, prefix, prefix.cache.num_bytes)

    def _image_embeds(self, job: Job, num_cached: int) -> dict[ImageView, Tensor]:
        """Embeddings of the images that lie beyond the cached prefix, from the store or newly computed. Raises Stopped."""
        embeds: dict[ImageView, Tensor] = {}
        position = 0
        for segment in job.prompt.segments:
            position += len(segment)
            if isinstance(segment, ImageSegment) and position > num_cached and segment.view not in embeds:
                embeds[segment.view] = self._embed(job, segment)
        return embeds

    def _embed(self, job: Job, segment: ImageSegment) -> Tensor:
        view = segment.view
        key = _image_key(view)
        embeds_TD = self._store.get(job.request.session_id, key)
        if embeds_TD is None:
            pixels_HWC = job.request.images[view.image_id].pixels_HWC
            tiles_NCHW = torch.from_numpy(self.processor.image_processor.cut(pixels_HWC, segment.plan))
            embeds_TD = self.runner.embed_image(
                tiles_NCHW, segment.plan.grid, lambda: self._is_over(job), self._tell_of("vision", job)
            )
            self._put(job, key, embeds_TD, embeds_TD.numel() * embeds_TD.element_size())
        return embeds_TD

    def _put(self, job: Job, key: str, value: object, num_bytes: int) -> bool:
        """Whether it is kept."""
        spared_s = _IN_USE_S if job.only_reads else 0.0
        with self._lock:  # forget() marks the job under the same lock, so that nothing is put back after it
            return not job.is_forgotten and self._store.put(job.request.session_id, key, value, num_bytes, spared_s=spared_s)

    def _out_of_memory(self, job: Job) -> OutOfMemory:
        """Free all that is kept: what it would save next time is less than another failure costs. Of a question, that is."""
        if not job.only_reads:
            self._store.free(math.inf)
        give_memory_back()
        return OutOfMemory("The device ran out of memory; lower the max patches or the answer length and ask again.")


def _image_key(view: ImageView) -> str:
    return f"image:{view.image_id}:{view.max_patches}"
