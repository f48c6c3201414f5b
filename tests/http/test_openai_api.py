"""``/v1`` with the real OpenAI client, and with bodies that no client of good faith would send."""

from __future__ import annotations

import base64
import socket
import time
from contextlib import ExitStack

import httpx
import openai
import pytest

from ixc.benchmarks.app_process import AppProcess
from ixc.errors import BackendFailed, BackendLost, GpuUnavailable
from ixc.serving.openai_answer import error_body


@pytest.fixture(scope="module")
def client(app: AppProcess):
    with openai.OpenAI(base_url=f"{app.url}/v1", api_key="not needed", max_retries=0) as connected:
        yield connected


@pytest.fixture(scope="module")
def model(client) -> str:
    return client.models.list().data[0].id


@pytest.fixture(scope="module")
def image_url(small_png) -> str:
    return "data:image/png;base64," + base64.b64encode(small_png).decode()


def about(image_url, question):
    return [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": image_url}}, {"type": "text", "text": question}],
        }
    ]


GREEDY = {"temperature": 0, "max_tokens": 8, "extra_body": {"max_patches": 2, "repetition_penalty": 1.0}}


def test_streamed_and_whole_answers_are_the_same_and_counted(client, model, image_url):
    whole = client.chat.completions.create(model=model, messages=about(image_url, "What?"), **GREEDY)
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=about(image_url, "What?"),
            stream=True,
            stream_options={"include_usage": True},
            **GREEDY,
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert whole.choices[0].message.content == text != ""
    assert whole.choices[0].finish_reason in ("stop", "length")
    usage = chunks[-1].usage

    assert usage.completion_tokens == whole.usage.completion_tokens <= 8
    assert usage.prompt_tokens == whole.usage.prompt_tokens
    assert usage.prompt_tokens_details.cached_tokens > whole.usage.prompt_tokens_details.cached_tokens


def test_the_next_turn_reuses_the_one_before(client, model, image_url):
    messages = about(image_url, "What is this one?")
    first = client.chat.completions.create(model=model, messages=messages, **GREEDY)
    messages += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "And now?"},
    ]
    second = client.chat.completions.create(model=model, messages=messages, **GREEDY)
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 1


def test_max_patches_decides_what_an_image_costs(client, model, image_url):
    tokens = []
    for budget in ({"max_patches": 1}, {"max_patches": 4}, {"mm_processor_kwargs": {"max_patches": 4}}):  # the last as vLLM's
        answer = client.chat.completions.create(
            model=model, messages=about(image_url, "What?"), max_tokens=1, extra_body=budget
        )
        tokens.append(answer.usage.prompt_tokens_details.image_tokens)
    # 144*(tiles + 1) + 12*(rows + 1) + 1: one tile; then 2 columns, 2 rows, for 300x200 is cut as 2x2 at budget 4.
    two_by_two = 144 * 5 + 12 * 3 + 1
    assert tokens == [144 * 2 + 12 * 2 + 1, two_by_two, two_by_two]


def test_two_images_in_one_question_and_a_system_message(client, model, image_url, wide_image):
    wide = "data:image/png;base64," + base64.b64encode(wide_image.read_bytes()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": image_url}},
        {"type": "image_url", "image_url": {"url": wide}},
        {"type": "text", "text": "Which is wider?"},
    ]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    answer = client.chat.completions.create(model=model, messages=messages, max_tokens=1, extra_body={"max_patches": 1})
    assert answer.usage.prompt_tokens_details.image_tokens == 2 * (144 * 2 + 12 * 2 + 1)


def test_a_stop_string_ends_the_answer_before_it(client, model, image_url):
    whole = client.chat.completions.create(model=model, messages=about(image_url, "Stop?"), **GREEDY).choices[0].message.content
    stop = whole[len(whole) // 2 :][:2]
    cut = client.chat.completions.create(model=model, messages=about(image_url, "Stop?"), stop=stop, **GREEDY)
    assert cut.choices[0].message.content == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_a_caller_who_leaves_ends_the_answer(client, model, image_url, http):
    stream = client.chat.completions.create(
        model=model, messages=about(image_url, "Long?"), stream=True, max_tokens=4096, extra_body={"max_patches": 1}
    )
    next(iter(stream))
    stream.close()
    # The one worker is free again at once, not after 4,096 tokens.
    answer = client.with_options(timeout=20).chat.completions.create(model=model, messages=about(image_url, "Hi"), max_tokens=1)
    assert answer.usage.completion_tokens == 1


def test_one_caller_does_not_take_every_place_in_the_line(app, http, model):
    """Of twenty places sixteen, besides the answer that is being written."""
    body = {"model": model, "messages": [{"role": "user", "content": "Long?"}], "stream": True, "max_tokens": 4096}
    request = httpx.Request("POST", f"{app.url}/v1/chat/completions", json=body)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    deadline_s, url = time.monotonic() + 60, httpx.URL(app.url)
    with ExitStack() as stack:
        for _ in range(17):
            peer = stack.enter_context(socket.create_connection((url.host, url.port), timeout=30))
            peer.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + request.content)
        while http.get("/status").json()["in_line"] < 17:
            assert time.monotonic() < deadline_s, "they never came"
        refused = http.post("/v1/chat/completions", json=body)
        assert http.get("/status").json()["in_line"] == 17
    assert refused.status_code == 429
    assert refused.headers["retry-after"]
    assert "17 of your questions, or of your network, are under way" in refused.json()["error"]["message"]
    while http.get("/status").json()["in_line"]:
        assert time.monotonic() < deadline_s, "they are answered for nobody"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"messages": []}, "messages must be a list"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "last message must be the user's"),
        ({"messages": [{"role": "assistant", "content": "x"}] * 2}, "needs a role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "text or image_url"),
        ({"messages": [{"role": "user", "content": "  "}]}, "Type a question"),
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens must be a whole number"),
        ({"max_tokens": 10**400}, "between 1 and"),
        ({"temperature": 10**400}, "temperature is out of range"),
        ({"max_completion_tokens": 8192}, "answer length (max_completion_tokens) must be between"),
        ({"max_tokens": 8192}, "answer length (max_tokens) must be between"),
        ({"max_new_tokens": 5}, "max_new_tokens is not supported"),
        ({"n": 2}, "n is not supported"),
        ({"max_patches": 0}, "max_patches must be a whole number from 1 to 64"),
        ({"mm_processor_kwargs": {"max_patches": 0}}, "max_patches must be a whole number from 1 to 64"),
        ({"mm_processor_kwargs": {"hd_num": 9}}, "mm_processor_kwargs may hold max_patches only"),
        ({"mm_processor_kwargs": [9]}, "mm_processor_kwargs may hold max_patches only"),
        ({"mm_processor_kwargs": {"max_patches": 4}, "max_patches": 9}, "name two budgets"),
        ({"top_k": 40}, "top_k is not supported"),
        ({"min_p": 0.1}, "min_p is not supported"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "structured_outputs is not supported"),
        ({"tools": [{"type": "function"}]}, "tools is not supported"),
        ({"tool_choice": "required"}, "tool_choice is not supported"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format is not supported"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format is not supported"),
        ({"presence_penalty": 0.5}, "presence_penalty is not supported"),
        ({"frequency_penalty": -2}, "frequency_penalty is not supported"),
        ({"logit_bias": {"50256": -100}}, "logit_bias is not supported"),
        ({"modalities": ["text", "audio"]}, "modalities is not supported"),
        ({"stream": "false"}, "stream must be true or false"),
        ({"stream": 1}, "stream must be true or false"),
        ({"stream_options": {"include_usage": "no"}}, "include_usage must be true or false"),
        ({"stop": ["a"] * 5}, "at most 4"),
        ({"messages": about("http://127.0.0.1/x.png", "What?")}, "does not fetch images"),
        ({"messages": about("file:///etc/passwd", "What?")}, "data: URL"),
        ({"messages": about("data:image/png;base64,bm8gaW1hZ2U=", "What?")}, "not an image"),
    ],
)
def test_a_bad_request_is_refused_in_a_sentence(http, model, change, words):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1} | change
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert words in error["message"]
    assert "Traceback" not in answer.text
    assert error["type"] == "invalid_request_error"


def test_what_changes_nothing_may_be_said(client, model):
    """As clients send it that write every field out."""
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Hi"}],
        max_tokens=1,
        n=1,
        stream=False,
        response_format={"type": "text"},
        presence_penalty=0,
        frequency_penalty=0.0,
        logit_bias={},
        tool_choice="none",
        modalities=["text"],
        extra_body={"tools": [], "audio": None, "logprobs": None, "top_k": -1, "min_p": 0.0, "mm_processor_kwargs": {}},
    )
    assert answer.usage.completion_tokens == 1


def test_a_model_is_found_by_its_id_which_may_be_a_folder(client, model):
    assert "/" in model
    assert client.models.retrieve(model) == client.models.list().data[0]
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-9' here"):
        client.models.retrieve("gpt-9")


def test_a_lost_backend_is_the_servers_fault_so_that_clients_and_proxies_try_again():
    assert error_body(BackendLost("Lost."))[0] == 503
    assert error_body(BackendFailed("It refused."))[0] == 502
    assert error_body(GpuUnavailable("The quota is used up."))[0] == 503
    assert error_body(BackendLost("Lost."))[1]["error"]["type"] == "server_error"


def test_half_a_character_is_no_fault_of_the_server(http, model):
    content = b'{"model": "%s", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi \\ud83d"}]}' % model.encode()
    answer = http.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text


def test_another_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="There is no model"):
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {"content-type": "application/json"}, 400),
        (b"[" * 100_000, {"content-type": "application/json"}, 400),
        (b"[]", {"content-type": "application/json"}, 400),
        (b"{}", {"content-type": "text/plain"}, 415),  # what a foreign web page could send without asking
        (b" " * 16 * 1024**2, {"content-type": "application/json"}, 413),
    ],
)
def test_bodies_that_are_no_requests(http, content, headers, status):
    answer = http.post("/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].endswith(".")


def test_a_body_longer_than_announced_at_first_is_cut_off(app):
    """Chunked: no length is announced, and the sender never ends."""
    host, port = app.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as peer:
        peer.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(400):  # 25 MB, and the limit is about 15
                peer.sendall(piece)
        except OSError:
            pass  # refused while sending
        answer = peer.recv(1000)
    assert b" 413 " in answer
