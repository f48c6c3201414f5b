"""Several conversations at once: how much gets done, how long anyone waits, and whether all wait alike."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from ixc.benchmarks.baseline import BaselineChat
from ixc.benchmarks.measuring import Figure
from ixc.benchmarks.turns import QUESTION, SECOND_QUESTION, ask
from ixc.chat.engine import Engine
from ixc.chat.events import AnswerStats
from ixc.conversation import ImageView, Turn, build_prompt
from ixc.imaging.decode import DecodedImage


def concurrency_figures(
    engine: Engine, baseline: BaselineChat, image: DecodedImage, budget: int, *, num_users: int, num_new_tokens: int
) -> list[Figure]:
    """``num_users`` conversations of two questions each about the same picture, every user's asked one after the other.

    The official code has no queue: it is given the same questions in a row, which is the best it could do.
    """
    start_s = time.perf_counter()
    users = _all_at_once(engine, image, budget, num_users, num_new_tokens)
    ours_s = time.perf_counter() - start_s
    view = ImageView(image.image_id, budget)
    first = build_prompt("", (), QUESTION, view).parts
    second = build_prompt("", (Turn(QUESTION, "a sign", view),), SECOND_QUESTION, view).parts
    start_s = time.perf_counter()
    for parts in (first, second):
        baseline.ask(parts, image.pixels_HWC, budget, max_new_tokens=num_new_tokens)
    theirs_s = (time.perf_counter() - start_s) * num_users
    num_answers = 2 * num_users
    name = f"HD-{budget} {num_users} conversations"
    per_minute = Figure(
        f"{name}, answers",
        60 * num_answers / ours_s,
        "a minute",
        60 * num_answers / theirs_s,
        "official, one after the other",
        is_larger_better=True,
    )
    waits_ms = [stats.waited_ms for answers in users for stats in answers]
    return [
        per_minute,
        Figure(f"{name}, median wait", statistics.median(waits_ms), "ms"),
        Figure(f"{name}, longest wait", max(waits_ms), "ms"),
        Figure(f"{name}, most answered while one waited", _most_overtaken(users), "answers"),
    ]


def _all_at_once(
    engine: Engine, image: DecodedImage, budget: int, num_users: int, num_new_tokens: int
) -> list[list[AnswerStats]]:
    """Each user's two answers."""
    barrier = Barrier(num_users)

    def converse(user: int) -> list[AnswerStats]:
        session_id = f"user-{user}"
        barrier.wait()
        try:
            return [ask(engine, session_id, image, budget, num_new_tokens, is_second) for is_second in (False, True)]
        finally:
            engine.forget(session_id)

    with ThreadPoolExecutor(num_users) as pool:
        return list(pool.map(converse, range(num_users)))


def _most_overtaken(users: list[list[AnswerStats]]) -> float:
    """The longest wait in units of a median answer's own time: with a fair queue about one less than there are users."""
    own_ms = statistics.median(_own_ms(stats) for answers in users for stats in answers)
    return max(stats.waited_ms for answers in users for stats in answers) / own_ms


def _own_ms(stats: AnswerStats) -> float:
    decode_s = (stats.num_new_tokens - 1) / stats.decode_tokens_per_s if stats.decode_tokens_per_s else 0.0
    return (stats.time_to_first_token_ms or 0.0) + 1000 * decode_s
