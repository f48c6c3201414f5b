"""More than one copy of the model: vLLM's own data parallelism, and two servers behind one address."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai

from ixc.chat.loading import load_engine
from ixc.settings import Settings
from tests.vllm.asking import Question, ask_native
from tests.vllm.server import VllmServer

DATA = Path(__file__).parents[1] / "data" / "ixc2_4khd"
OPTIONS = ("--served-model-name", "noise", "--enforce-eager", "--trust-request-mm-kwargs", "--enable-prompt-tokens-details")
PATIENCE_S = 60
BLOCK = 128
"""Tokens that vLLM's cache keeps or drops together on a CPU."""
PICTURE = Question("What is this?", (DATA / "img_landscape.png",))


def complete(client: openai.OpenAI, messages: list[dict], max_tokens: int = 8, max_patches: int = 2):
    extra = {"mm_processor_kwargs": {"max_patches": max_patches}, "repetition_penalty": 1.0}
    return client.chat.completions.create(
        model="noise", messages=messages, temperature=0, max_tokens=max_tokens, extra_body=extra
    )


def test_data_parallel_engines_answer_as_one(noise, tmp_path):
    questions = [
        Question(f"What is in part {n}?", (DATA / f"img_{name}.png",)) for n, name in enumerate(["wide", "portrait"] * 3)
    ]
    engine = load_engine(Settings(model=str(noise), resize="exact"))
    expected = [ask_native(engine, question, 8).text for question in questions]
    engine.close()
    with VllmServer(noise, tmp_path, *OPTIONS, "--data-parallel-size", "2") as server, client_of(server.url) as client:
        with ThreadPoolExecutor(len(questions)) as pool:
            answers = list(pool.map(lambda question: complete(client, question.messages()), questions))
        assert [text(answer) for answer in answers] == expected
        assert server.num_engines() == 2


def test_two_servers_behind_one_address_keep_each_conversation_and_stand_in_for_each_other(noise, tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("a", "b")]
    with (
        VllmServer(noise, folders[0], *OPTIONS) as first,
        VllmServer(noise, folders[1], *OPTIONS) as second,
        replicas(first.url, second.url) as url,
        client_of(url) as client,
    ):
        # Different from the first words on, so that nothing but a conversation's own beginning is in a cache.
        talks = [[{"role": "system", "content": f"You are number {n}."}, *PICTURE.messages()] for n in range(20)]
        begun = [complete(client, talk) for talk in talks]
        assert [num_cached(answer) for answer in begun] == [0] * 20
        assert min(first.num_answered(), second.num_answered()) > 0
        for talk, answer in zip(talks, begun, strict=True):
            talk.append({"role": "assistant", "content": text(answer)})
            talk.append({"role": "user", "content": "And?"})
        went_on = [complete(client, talk) for talk in talks]
        for before, after in zip(begun, went_on, strict=True):
            assert num_cached(after) > before.usage.prompt_tokens - 2 * BLOCK
        first.kill()
        again = [complete(client, talk) for talk in talks]
        assert [text(answer) for answer in again] == [text(answer) for answer in went_on]
        assert sorted(httpx.get(f"{url}/health").json()["replicas"].values()) == ["down", "up"]


def text(answer) -> str:
    return answer.choices[0].message.content


def num_cached(answer) -> int:
    details = answer.usage.prompt_tokens_details
    return (details.cached_tokens or 0) if details else 0


def client_of(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


@contextmanager
def replicas(*urls: str) -> Iterator[str]:
    """``ixc replicas`` in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    to = [part for url in urls for part in ("--to", url)]
    process = subprocess.Popen([sys.executable, "-m", "ixc", "replicas", *to, "--port", str(port)])
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None
            assert time.monotonic() < deadline_s
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
