"""A server that refuses fields beyond OpenAI's, or says in its own way why it refuses: the page answers all the same."""

from __future__ import annotations

import pytest

from ixc.chat.remote import connect_engine
from ixc.chat.request import StopFlag
from ixc.errors import BackendRefused, ConversationTooLong, IxcError
from ixc.settings import Settings
from tests.http.backend_questions import question, text_of
from tests.http.flaky_server import Flaky, flaky_server

OURS = {"max_patches", "repetition_penalty", "mm_processor_kwargs"}
NAMES_ALL = "Unrecognized request arguments supplied: max_patches, mm_processor_kwargs, repetition_penalty"
MISTRALS = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"} for name in OURS]


def ours_in(asked) -> list[set[str]]:
    return [OURS & set(body) for body in asked]


@pytest.mark.parametrize(
    "refusal",
    [
        (400, {"error": {"message": NAMES_ALL}}),
        (422, {"detail": MISTRALS}),
        (400, {"error": {"message": "Bad request"}}),
        (422, b""),
    ],
    ids=["as OpenAI names them", "as FastAPI lists them", "without a name", "without a word"],
)
def test_a_server_that_takes_openais_fields_only_is_asked_without_the_others(image, refusal):
    """The first question finds out, and costs one refusal."""
    with flaky_server() as port:
        Flaky.kind, Flaky.refusal, Flaky.behaviour = {"owned_by": "openai"}, refusal, "picky"
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        for _ in range(2):
            assert text_of(engine.answer(question(image), StopFlag())) == "All is well"
        engine.close()
    assert ours_in(Flaky.asked) == [OURS, set(), set()]


def test_a_field_that_is_named_goes_alone(image):
    with flaky_server() as port:
        Flaky.kind, Flaky.behaviour = {"owned_by": "somebody"}, "vllm"
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        list(engine.answer(question(image), StopFlag()))
        engine.close()
    assert ours_in(Flaky.asked) == [OURS, OURS - {"mm_processor_kwargs"}]


@pytest.mark.parametrize(
    ("kind", "refusal", "error", "times"),
    [
        ({"ixc": {}}, (400, {"error": {"message": "max_patches must be from 1 to 9."}}), BackendRefused, 1),
        ({"owned_by": "vllm"}, (400, {"error": {"message": "repetition_penalty must be above 0."}}), BackendRefused, 1),
        ({}, (400, {"error": {"message": "Too long", "code": "context_length_exceeded"}}), ConversationTooLong, 1),
        ({}, (413, {"error": {"message": "The image is too large."}}), BackendRefused, 1),
        ({}, (400, {"error": {"message": "The image is damaged."}}), BackendRefused, 2),
    ],
)
def test_what_is_refused_for_another_reason_stays_refused(image, kind, refusal, error, times):
    """And costs no field: a server that would have taken it is asked with it again."""
    with flaky_server() as port:
        Flaky.kind, Flaky.refusal, Flaky.behaviour = kind, refusal, "strict"
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        with pytest.raises(error):
            list(engine.answer(question(image), StopFlag()))
        Flaky.behaviour = "answer"
        list(engine.answer(question(image), StopFlag()))
        engine.close()
    assert len(Flaky.asked) == times + 1
    assert ours_in(Flaky.asked)[-1] == OURS


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "The picture is odd."}}, "The picture is odd."),
        ({"error": "no room left"}, "The server refused the question: no room left."),
        ({"detail": "The picture is odd."}, "The picture is odd."),
        (
            {"detail": [{"loc": ["body", "top_p"], "msg": "must be below 1"}, {"msg": "odd"}]},
            "The server refused the question: body.top_p: must be below 1; odd.",
        ),
        ({"object": "error", "message": "The picture is odd.", "code": 40303}, "The picture is odd."),
        (b"upstream\n is gone", "The server refused the question: upstream is gone."),
        (b"x" * 900, f"The server refused the question: {'x' * 200}."),
        (b"<html><body>413</body></html>", "The server refused the question: status 400."),
        ({"error": None, "detail": []}, "The server refused the question: status 400."),
        (["odd"], "The server refused the question: status 400."),
        (b"\xff\xfe", "The server refused the question: \ufffd\ufffd."),
    ],
)
def test_the_servers_own_reason_is_told_in_whatever_shape_it_comes(image, body, words):
    with flaky_server() as port:
        Flaky.refusal, Flaky.behaviour = (400, body), "strict"
        engine = connect_engine(Settings(backend=f"http://127.0.0.1:{port}"))
        with pytest.raises(IxcError) as refused:
            list(engine.answer(question(image), StopFlag()))
        engine.close()
    assert str(refused.value) == words
