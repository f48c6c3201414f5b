"""Memory: what is refused before it starts, what running out of it leaves behind."""

import re
from dataclasses import replace

import pytest
import torch

from ixc.chat import runner
from ixc.chat.kv_cache import InPlaceCache
from ixc.chat.memory import is_out_of_memory, is_usable
from ixc.conversation import Turn
from ixc.errors import DeviceFailed, OutOfMemory
from ixc.tiling import SizePx, plan_tiles
from tests.chat.conftest import GREEDY, Chat
from tests.chat.test_engine import StopAtCheck


def test_what_will_not_fit_is_refused_with_the_largest_budget_that_will(engine, new_chat, landscape, monkeypatch):
    chat = new_chat()
    plans = {budget: plan_tiles(SizePx(120, 200), budget) for budget in range(1, 26)}
    needs = {budget: engine.estimate(plan, 30).memory_bytes for budget, plan in plans.items()}
    monkeypatch.setattr(engine.admission, "free_bytes", lambda device: needs[9])
    with pytest.raises(OutOfMemory, match=r"GB are free; lower the max patches to (9|10|11)\.$"):
        chat.ask("What is this?", landscape, max_patches=25)
    assert plans[9].grid == plans[11].grid != plans[12].grid
    assert chat.ask("What is this?", landscape, max_patches=9).text
    monkeypatch.setattr(engine.admission, "free_bytes", lambda device: 1000)
    with pytest.raises(OutOfMemory, match="begin a new chat"):
        chat.ask("What is this?", landscape, max_patches=25)
    assert chat.turns, "the conversation is not lost"


def test_a_follow_up_needs_memory_for_its_own_tokens_only(engine, new_chat, landscape, monkeypatch):
    chat, first = new_chat(), engine.estimate(plan_tiles(SizePx(120, 200), 25), 30).memory_bytes
    assert chat.ask("What is this?", landscape, max_patches=25).stats.num_cached_tokens == 0
    monkeypatch.setattr(engine.admission, "free_bytes", lambda device: first // 4)
    assert chat.ask("And that?", landscape, max_patches=25).stats.num_cached_tokens > 1000
    with pytest.raises(OutOfMemory):
        new_chat().ask("What is this?", landscape, max_patches=25)


def test_what_others_keep_makes_room_before_a_question_is_refused(engine, new_chat, landscape, monkeypatch):
    other, chat = new_chat(), new_chat()
    other.ask("What is this?", landscape, max_patches=25)
    room = engine.estimate(plan_tiles(SizePx(120, 200), 25), 30).memory_bytes
    monkeypatch.setattr(engine.admission, "free_bytes", lambda device: room - engine.memory_report()["bytes"])
    assert chat.ask("What is this?", landscape, max_patches=25).text
    monkeypatch.undo()
    assert other.ask("And that?", landscape, max_patches=25).stats.num_cached_tokens == 0, "it is computed again"


def test_a_question_that_fits_in_no_case_takes_nothing_from_others(engine, new_chat, landscape, monkeypatch):
    other, chat = new_chat(), new_chat()
    other.ask("What is this?", landscape)
    room = engine.estimate(plan_tiles(SizePx(120, 200), 25), 30).memory_bytes
    kept = engine.memory_report()["bytes"]
    monkeypatch.setattr(engine.admission, "free_bytes", lambda device: room - 2 * kept)
    with pytest.raises(OutOfMemory, match=r"lower the max patches to (\d+)\.$") as refused:
        chat.ask("What is this?", landscape, max_patches=25)
    assert engine.memory_report()["bytes"] == kept
    # With what others keep there is room for the budget that is named.
    monkeypatch.setattr(engine.admission, "free_bytes", lambda device: room - kept - engine.memory_report()["bytes"])
    fitting = int(re.search(r"(\d+)\.$", str(refused.value))[1])
    assert chat.ask("What is this?", landscape, max_patches=fitting).text


def test_the_budget_that_is_named_fits_with_beams_too(engine, new_chat, landscape, monkeypatch):
    chat = new_chat(generation=replace(GREEDY, num_beams=3, max_new_tokens=2))
    need = engine.estimate(plan_tiles(SizePx(120, 200), 9), 30).memory_bytes
    monkeypatch.setattr(engine.admission, "free_bytes", lambda device: need)
    with pytest.raises(OutOfMemory, match=r"lower the max patches to \d+\.$") as refused:
        chat.ask("What is this?", landscape, max_patches=25)
    fitting = int(re.search(r"(\d+)\.$", str(refused.value))[1])
    assert 1 <= fitting < 9
    assert chat.ask("What is this?", landscape, max_patches=fitting).finished


def test_running_out_of_memory_is_said_and_the_next_question_works(engine, new_chat, landscape, monkeypatch):
    chat, real = new_chat(), engine.runner.model.model.forward

    def fail(*args, **kwargs):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried")

    new_chat().ask("What is this?", landscape)
    monkeypatch.setattr(engine.runner.model.model, "forward", fail)
    with pytest.raises(OutOfMemory, match="ran out of memory"):
        chat.ask("What is this?", landscape)
    monkeypatch.setattr(engine.runner.model.model, "forward", real)
    assert engine.memory_report()["entries"] == 0, "nothing is kept, of others neither"
    assert chat.ask("What is this?", landscape).text


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
    ],
)
def test_memory_that_ran_out_is_known_by_any_of_its_names(words):
    assert is_out_of_memory(RuntimeError(words))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(ValueError(words))


@pytest.mark.parametrize("still_works", [True, False])
def test_only_a_device_that_works_no_more_is_the_engines_end(engine, new_chat, landscape, monkeypatch, still_works):
    """After an illegal access every call fails until the process is started again."""

    def fail(*args, **kwargs):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(engine, "_has_failed", False)  # and again at the end
    monkeypatch.setattr("ixc.chat.engine.is_usable", lambda device: still_works)
    with monkeypatch.context() as patched:
        patched.setattr(engine.runner.model.model, "forward", fail)
        with pytest.raises(RuntimeError if still_works else DeviceFailed, match=r"illegal|started again"):
            new_chat().ask("What is this?", landscape)
    assert (engine.failure is None) == still_works
    if still_works:
        assert new_chat().ask("What is this?", landscape).text
    else:
        with pytest.raises(DeviceFailed):
            new_chat().ask("What is this?", landscape)


def test_a_device_that_works_is_usable():
    assert is_usable(torch.device("cpu"))


def test_a_pass_that_breaks_off_leaves_no_cache_of_unequal_layers(engine, new_chat, landscape, monkeypatch):
    """The second layer of a follow-up's first chunk fails: the first one already holds what the second does not."""
    chat, fresh = new_chat(), new_chat()
    chat.ask("What is this?", landscape)
    update = InPlaceCache.update

    def fail_in_the_second_layer(cache, keys, values, layer_idx, *args, **kwargs):
        if layer_idx == 1:
            raise RuntimeError("the device is unwell")
        return update(cache, keys, values, layer_idx, *args, **kwargs)

    monkeypatch.setattr(InPlaceCache, "update", fail_in_the_second_layer)
    with pytest.raises(RuntimeError, match="unwell"):
        chat.ask("And that?", landscape)
    monkeypatch.undo()
    fresh.turns = list(chat.turns)
    again = chat.ask("And that?", landscape)
    assert again.stats.num_cached_tokens == 0
    assert again.text == fresh.ask("And that?", landscape).text


def test_memory_that_runs_out_while_a_stopped_answer_is_kept_leaves_no_cache_of_unequal_layers(
    static_engine, images, monkeypatch
):
    """The second layer cannot take the answer back from the fixed buffers; nothing runs after Stop that would show it."""
    update = InPlaceCache.update
    decoding = []

    def no_room_in_the_second_layer(cache, keys, values, layer_idx, *args, **kwargs):
        if decoding and layer_idx == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return update(cache, keys, values, layer_idx, *args, **kwargs)

    make_reader = runner.TokenReader
    monkeypatch.setattr(runner, "TokenReader", lambda device: decoding.append(True) or make_reader(device))
    monkeypatch.setattr(InPlaceCache, "update", no_room_in_the_second_layer)
    chat, fresh = (Chat(static_engine, images, name, turns=[Turn("Hello", "there")]) for name in ("stopped", "fresh"))
    with pytest.raises(OutOfMemory, match="ran out of memory"):
        chat.ask("What is this?", stop=StopAtCheck(8), keep=False)
    assert decoding, "it was stopped while it was decoding"
    monkeypatch.undo()
    again = chat.ask("And that?")
    assert again.stats.num_cached_tokens == 0
    assert again.text == fresh.ask("And that?").text
    for session_id in ("stopped", "fresh"):
        static_engine.forget(session_id)


def test_a_cache_whose_layers_disagree_is_never_kept(engine, new_chat, monkeypatch):
    def decode_one_layer_too_few(logits, sampler, cache, *args):
        yield 100
        for layer in cache.layers[1:]:
            layer.crop(-1)

    monkeypatch.setattr(engine.runner, "decode", decode_one_layer_too_few)
    entries = engine.memory_report()["entries"]
    chat = new_chat()
    assert chat.ask("What is this?").finished
    assert engine.memory_report()["entries"] == entries


def test_a_failure_while_memory_is_given_back_reaches_the_caller_and_the_next_question_works(engine, new_chat, monkeypatch):
    def out_of_memory(*_):
        raise MemoryError

    def fail():
        raise RuntimeError("the driver is gone")

    monkeypatch.setattr(engine, "_run", out_of_memory)
    monkeypatch.setattr("ixc.chat.engine.give_memory_back", fail)
    with pytest.raises(RuntimeError, match="the driver is gone"):
        new_chat().ask("What is this?")
    monkeypatch.undo()
    assert engine.memory_report()["requests"] == 0
    assert new_chat().ask("What is this?").finished
