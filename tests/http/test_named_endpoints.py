"""``/plan`` and ``/chat`` as other programs use them: through the real gradio_client."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ixc.benchmarks.page_client import PageClient

NUM_OWN = 16
"""Of the twenty places that the app has by default, for the questions of one network."""


@pytest.fixture(scope="module")
def client(app) -> Iterator[Client]:
    connected = Client(app.url, verbose=False)
    yield connected
    connected.close()


def test_only_the_two_named_endpoints_are_public(client):
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert sorted(endpoints["named_endpoints"]) == ["/chat", "/plan"]
    assert endpoints["unnamed_endpoints"] == {}


def test_plan_is_the_reference_plan(client, wide_image):
    facts = client.predict(image=handle_file(str(wide_image)), max_patches=25, api_name="/plan")
    assert facts["grid"] == {"rows": 3, "cols": 7}
    assert facts["num_visual_tokens"] == 3217
    assert facts["resized_px"] == {"height": 980, "width": 2352}
    assert facts["padding_px"] == {"left": 0, "top": 14, "right": 0, "bottom": 14}
    facts = client.predict(image=handle_file(str(wide_image)), max_patches=55, api_name="/plan")
    assert (facts["grid"], facts["num_visual_tokens"]) == ({"rows": 5, "cols": 11}, 8137)


@pytest.mark.parametrize("max_patches", [0, -1, 65, 2.5, 1e9])
def test_a_budget_out_of_range_is_refused_in_a_sentence(client, wide_image, max_patches):
    with pytest.raises(AppError, match="Max patches must be a whole number from 1 to 64"):
        client.predict(image=handle_file(str(wide_image)), max_patches=max_patches, api_name="/plan")


def test_a_file_that_is_no_image_is_refused_in_a_sentence(client, tmp_path):
    path = tmp_path / "words.png"
    path.write_text("only words")
    with pytest.raises(AppError, match="not an image that can be opened") as refusal:
        client.predict(image=handle_file(str(path)), max_patches=9, api_name="/plan")
    assert "Traceback" not in str(refusal.value)


def test_a_plan_needs_an_image(client):
    with pytest.raises(AppError, match="An image is needed"):
        client.predict(image=None, max_patches=9, api_name="/plan")


def test_chat_streams_and_repeats_with_a_seed(client, wide_image):
    def ask(**more: object) -> list[str]:
        job = client.submit(
            question="What is this?",
            image=handle_file(str(wide_image)),
            max_patches=2,
            max_new_tokens=10,
            temperature=1.0,
            seed=7,
            **more,
            api_name="/chat",
        )
        return list(job)

    parts = ask()
    assert len(parts) > 1
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(parts))
    assert ask()[-1] == parts[-1]
    assert ask(system="Answer in one word.")[-1] != parts[-1]  # the model is told


def test_chat_depends_on_the_image_and_on_the_history(client, wide_image, tmp_path, small_png):
    other = tmp_path / "other.png"
    other.write_bytes(small_png)

    def ask(image, history=None) -> str:
        return client.predict(
            question="What is this?",
            image=image and handle_file(str(image)),
            max_patches=1,
            max_new_tokens=8,
            temperature=0,
            history=history,
            api_name="/chat",
        )

    answers = [ask(wide_image), ask(other), ask(None), ask(other, [["Hello?", "Hello."]])]
    assert len(set(answers)) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"question": "  "}, "Type a question first"),
        ({"question": "Hi", "max_patches": 99}, "Max patches must be"),
        ({"question": "Hi", "temperature": 99}, "temperature must be between"),
        ({"question": "Hi", "max_new_tokens": 0}, r"answer length \(max_new_tokens\) must be between"),
        ({"question": "Hi", "max_new_tokens": 2.5}, r"\(max_new_tokens\) must be a whole number"),
        ({"question": "Hi", "history": [["only one"]]}, "history must be a list"),
        ({"question": "Hi", "history": {"a": 1}}, "history must be a list"),
    ],
)
def test_chat_refuses_bad_arguments_in_a_sentence(client, arguments, says):
    with pytest.raises(AppError, match=f"(?i){says}"):
        client.predict(**arguments, api_name="/chat")


def test_the_one_that_finds_its_share_of_the_line_full_is_told_so(app, client):
    """One is served and sixteen wait; the next is refused at once, another network's is not, and the sixteen are answered."""

    def wait_for_line(num_inside: int) -> None:
        deadline_s = time.monotonic() + 60
        while app.status()["in_line"] != num_inside:
            assert time.monotonic() < deadline_s, app.status()

    served = PageClient(app.url)
    served.set_value("ixc-length", 4000)
    transcripts = served.ask("Say much.")
    next(transcripts)
    wait_for_line(1)
    waiting = [client.submit(question=f"Question {n}", max_new_tokens=1, api_name="/chat") for n in range(NUM_OWN)]
    wait_for_line(NUM_OWN + 1)
    with pytest.raises(AppError, match=f"{NUM_OWN + 1} of your questions, or of your network, are under way already"):
        client.predict(question="One too many", max_new_tokens=1, api_name="/chat")
    another = PageClient(app.url)
    another.set_value("ixc-length", 1)
    *_, refused = another.ask("And from the page?")
    assert "of your network" in refused["error"]["detail"]
    another.close()
    with httpx.Client(base_url=app.url, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as elsewhere:
        question, one_token = ["From elsewhere", None, None], [1, *[None] * 7]
        elsewhere.post("/gradio_api/call/chat", json={"data": [*question, *one_token]}).raise_for_status()
        wait_for_line(NUM_OWN + 2)
    served.stop()
    assert list(transcripts)[-1]["exchanges"][0]["reason"] == "stopped"
    served.close()
    assert all(isinstance(job.result(timeout=120), str) for job in waiting)
    wait_for_line(0)


def test_a_cancelled_job_leaves_the_line_and_stops_the_model(app, client):
    """Gradio cancels between two outputs, which may be minutes apart. Two clients: it cancels all of a client's calls."""

    def wait_for_line(num_inside: int) -> None:
        deadline_s = time.monotonic() + 60
        while app.status()["in_line"] != num_inside:
            assert time.monotonic() < deadline_s, app.status()

    wait_for_line(0)
    served = client.submit(question="Say much.", max_new_tokens=4096, api_name="/chat")
    next(iter(served))
    other = Client(app.url, verbose=False)
    waiting = other.submit(question="Me too?", max_new_tokens=4096, api_name="/chat")
    wait_for_line(2)
    while not waiting.communicator.event_id:  # before the client knows it, its cancel does nothing
        time.sleep(0.01)
    assert waiting.outputs() == []
    waiting.cancel()
    wait_for_line(1)
    assert not served.done()  # the one before was not what made room
    finished_before = app.log().count("outcome=length")
    served.cancel()
    wait_for_line(0)
    other.close()
    assert app.log().count("outcome=length") == finished_before


def test_calls_leave_nothing(app, client, wide_image):
    """The OpenAI-compatible calls of other tests may have left bounded caches; these calls add nothing."""
    before, files_before = app.status()["engine"], uploaded_files(app)
    client.predict(question="Hi", image=handle_file(str(wide_image)), max_patches=1, max_new_tokens=2, api_name="/chat")

    def has_more(status) -> bool:
        return any(status["engine"][name] > before[name] for name in ("sessions", "entries", "bytes"))

    deadline_s = time.monotonic() + 60  # a tab that an earlier test closed is noticed at its next heartbeat
    while has_more(status := app.status()) or status["sessions"]["sessions"] or status["in_line"]:
        assert time.monotonic() < deadline_s, status
    assert uploaded_files(app) <= files_before


def uploaded_files(app) -> set[Path]:
    return {path for path in app.uploads_path.rglob("*") if path.is_file()}
