"""However an answer is decoded, it is the same answer: over fixed buffers, a step ahead, with guesses."""

from dataclasses import replace

import pytest
import torch

from ixc.chat import runner as runner_module
from ixc.chat.events import FinishReason
from ixc.chat.prompt import EncodedPrompt, TextSegment
from ixc.chat.prompt_lookup import PromptLookup
from ixc.chat.runner import ModelRunner
from ixc.chat.sampling import TokenReader, TokenSampler
from ixc.chat.static_decode import DecodeMode, StaticDecoder
from ixc.models.xcomposer2.blocked_cache import BLOCK_POSITIONS
from ixc.settings import GenerationSettings
from tests.chat.conftest import GREEDY, Chat
from tests.chat.test_engine import StopAtCheck
from tests.checkpoints import tiny_model

SAMPLED = GenerationSettings(max_new_tokens=20, temperature=1.2, top_p=0.9, seed=11)


@pytest.mark.parametrize("generation", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_fixed_buffers_answer_as_the_ordinary_forward(generation, static_engine, new_chat, images, landscape):
    """Two turns, so that the second reads what the first one's buffers gave back."""
    ordinary, static = new_chat(generation=generation), Chat(static_engine, images, "static", generation=generation)
    for question in ("What is this?", "And what else?"):
        expected, answer = ordinary.ask(question, landscape), static.ask(question, landscape)
        assert answer.text == expected.text
        assert answer.stats.num_new_tokens == expected.stats.num_new_tokens
        assert answer.stats.num_cached_tokens == pytest.approx(expected.stats.num_cached_tokens, abs=1)
    static_engine.forget("static")


def test_stopping_a_step_ahead_leaves_a_cache_that_tells_the_truth(static_engine, new_chat, images, landscape):
    """Reading 15 is before the first token, 16 to 18 come with a step already under way."""
    expected = new_chat().ask("What is this?", landscape).text
    for reading in (15, 16, 18):
        chat = Chat(static_engine, images, f"stop-{reading}")
        stopped = chat.ask("What is this?", landscape, stop=StopAtCheck(reading), keep=False)
        assert stopped.reason is FinishReason.STOPPED
        assert stopped.stats.num_new_tokens == reading - 15
        assert chat.ask("What is this?", landscape).text == expected
        static_engine.forget(chat.session_id)


def test_a_stop_token_ends_it_though_the_next_step_has_begun(static_engine, new_chat, images, landscape, monkeypatch):
    """The fifth token of the answer is declared a stop token."""
    tokens = []
    chat = Chat(static_engine, images, "ends")
    sample = static_engine.runner._decode_ahead
    monkeypatch.setattr(static_engine.runner, "_decode_ahead", lambda *args: (tokens.append(t) or t for t in sample(*args)))
    whole = chat.ask("What is this?", landscape, keep=False)
    assert len(tokens) == GREEDY.max_new_tokens
    end = next(index for index, token in enumerate(tokens) if index and token not in tokens[:index])
    monkeypatch.setattr(static_engine.runner, "stop_ids", frozenset({tokens[end]}))
    cut = chat.ask("What is this?", landscape, keep=False)
    assert cut.reason is FinishReason.END_OF_TURN
    assert cut.stats.num_new_tokens == end
    assert whole.text.startswith(cut.text)
    static_engine.forget("ends")


def runner_with(static):
    options = {"prefill_chunk_tokens": 128, "views_per_pass": 1, "stop_ids": frozenset()}
    return ModelRunner(tiny_model(), static=static, **options)


def continued(runner, num_prompt, settings):
    """What follows a text of ``num_prompt`` ids, the cache behind it and how many steps ran in the fixed buffers."""
    num_steps = 0
    make_step = StaticDecoder._make_step

    def counted(decoder, num_blocks):
        step = make_step(decoder, num_blocks)

        def count():
            nonlocal num_steps
            num_steps += 1
            step()

        return count

    prompt = EncodedPrompt((TextSegment(tuple((7 * index) % 500 + 3 for index in range(num_prompt))),))
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(StaticDecoder, "_make_step", counted)
        cache = runner.new_cache(num_prompt)
        logits_V = runner.prefill(prompt, {}, cache)
        sampler = TokenSampler(settings, (), torch.device("cpu"))
        return list(runner.decode(logits_V, sampler, cache, settings.max_new_tokens)), cache, num_steps


@pytest.mark.parametrize("settings", [replace(GREEDY, max_new_tokens=20), SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize(
    ("num_prompt", "num_fixed"),
    [(200, 19), (237, 19), (238, 18), (250, 6), (255, 1), (256, 0), (300, 0)],
)
def test_an_answer_goes_on_where_the_fixed_buffers_end(num_prompt, num_fixed, settings, caplog):
    """Buffers of 256 positions, and an answer of 20 tokens, whose last one is not run."""
    caplog.set_level("INFO", logger=runner_module.__name__)
    static = StaticDecoder(tiny_model(), BLOCK_POSITIONS, DecodeMode.STATIC)
    expected, expected_cache, _ = continued(runner_with(None), num_prompt, settings)
    assert not caplog.records
    ids, cache, num_steps = continued(runner_with(static), num_prompt, settings)
    assert (ids, num_steps) == (expected, num_fixed)
    assert cache.length == expected_cache.length == num_prompt + 19
    for ours, plain in zip(cache.layers, expected_cache.layers, strict=True):
        for found, right in ((ours.keys, plain.keys), (ours.values, plain.values)):
            torch.testing.assert_close(found[:, :, : cache.length], right[:, :, : cache.length], rtol=1e-4, atol=1e-4)
    assert len(caplog.records) == (num_fixed < 19), "one line where it falls back, else none"


def test_the_first_token_does_not_wait_for_the_fixed_buffers(monkeypatch):
    """On a GPU what was queued before its reading is waited for: not the copy of the prompt's keys and values."""
    queued = []
    start, write = TokenReader.start, StaticDecoder.decoding
    monkeypatch.setattr(TokenReader, "start", lambda *args: (queued.append("read"), start(*args))[1])
    monkeypatch.setattr(StaticDecoder, "decoding", lambda *args: (queued.append("copy"), write(*args))[1])
    static = StaticDecoder(tiny_model(), BLOCK_POSITIONS, DecodeMode.STATIC)
    continued(runner_with(static), 40, replace(GREEDY, max_new_tokens=2))
    assert queued == ["read", "copy", "read"]


def test_without_a_guess_a_token_is_run_as_without_guessing(engine, new_chat, landscape, monkeypatch):
    """On a CPU by ``TokenStep``: beyond the prompt the model's ordinary forward is not called."""
    num_chunks = len(new_chat().ask("What is this?", landscape).progress)
    calls, forward = [], engine.runner.model.model.forward
    monkeypatch.setattr(engine.runner.model.model, "forward", lambda **inputs: (calls.append(1), forward(**inputs))[1])
    monkeypatch.setattr(PromptLookup, "draft", lambda lookup, limit: [])
    answers = []
    for num_guesses in (0, 5):
        calls.clear()
        generation = replace(GREEDY, prompt_lookup_tokens=num_guesses)
        answers.append((new_chat(generation=generation).ask("What is this?", landscape).text, len(calls)))
    assert answers[0] == answers[1]
    assert 0 < answers[0][1] < num_chunks


@pytest.mark.parametrize("generation", [replace(GREEDY, max_new_tokens=30), replace(SAMPLED, max_new_tokens=30)])
def test_guessing_changes_nothing_but_the_number_of_passes(generation, engine, new_chat, landscape, monkeypatch):
    """Guesses of five tokens, of which the third is wrong unless it is the answer's seventh: some rejected, some accepted."""
    ids: list[int] = []
    decode = engine.runner.decode
    monkeypatch.setattr(engine.runner, "decode", lambda *args: (ids.append(t) or t for t in decode(*args)))
    expected = new_chat(generation=generation).ask("What is this?", landscape)
    monkeypatch.setattr(engine.runner, "decode", decode)
    asked_s = []

    def draft(lookup, limit):
        num_said = len(lookup._ids) - num_prompt
        asked_s.append(num_said)
        guess = ids[num_said : num_said + 5]
        return [token if index != 2 or num_said + index == 7 else 1 for index, token in enumerate(guess)]

    pieces = len(engine.processor.tokenizer("[UNUSED_TOKEN_146]user\n")["input_ids"])
    pieces += len(engine.processor.tokenizer("What is this?[UNUSED_TOKEN_145]\n[UNUSED_TOKEN_146]assistant\n")["input_ids"])
    num_prompt = pieces + 2  # a gap before each piece
    monkeypatch.setattr(PromptLookup, "draft", draft)
    chat = new_chat(generation=replace(generation, prompt_lookup_tokens=5))
    answer = chat.ask("What is this?", landscape)
    monkeypatch.undo()
    assert answer.text == expected.text
    assert answer.stats.num_new_tokens == 30
    assert 0 < answer.stats.num_accepted_tokens < answer.stats.num_drafted_tokens
    assert len(asked_s) <= 11, "two right guesses and the token after them in a pass"
    fresh = new_chat(generation=generation, turns=list(chat.turns))
    assert chat.ask("Again", keep=False).text == fresh.ask("Again").text, "rejected guesses leave nothing in the cache"
