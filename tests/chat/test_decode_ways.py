"""However an answer is decoded, it is the same answer: over fixed buffers, a step ahead, with guesses."""

from dataclasses import replace

import pytest

from ixc.chat.events import FinishReason
from ixc.chat.prompt_lookup import PromptLookup
from ixc.settings import GenerationSettings
from tests.chat.conftest import GREEDY, Chat
from tests.chat.test_engine import StopAtCheck

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
