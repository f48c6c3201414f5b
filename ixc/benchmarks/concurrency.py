"""Several conversations at once: how much gets done, how long anyone waits, and whether all wait alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

from ixc.benchmarks.baseline import BaselineChat
from ixc.benchmarks.measuring import Figure
from ixc.benchmarks.turns import QUESTION, SECOND_QUESTION, ask
from ixc.chat.engine import Engine
from ixc.chat.events import AnswerStats
from ixc.conversation import ImageView, Turn, build_prompt
from ixc.imaging.decode import DecodedImage


@dataclass(frozen=True, slots=True)
class Answered:
    """One user's question, when it was asked and when its answer had ended, both by the same clock."""

    user: int
    asked_s: float
    ended_s: float
    stats: AnswerStats

    @property
    def started_s(self) -> float:
        """When its turn came."""
        return self.asked_s + self.stats.waited_ms / 1000


def concurrency_figures(
    engine: Engine, baseline: BaselineChat, image: DecodedImage, budget: int, *, num_users: int, num_new_tokens: int
) -> list[Figure]:
    """``num_users`` conversations of two questions each about the same picture, every user's asked one after the other.

    The official code has no queue: it is given the same questions in a row, which is the best it could do.
    """
    start_s = time.perf_counter()
    answered = _all_at_once(engine, image, budget, num_users, num_new_tokens)
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
    waits_ms = [each.stats.waited_ms for each in answered]
    return [
        per_minute,
        Figure(f"{name}, median wait", statistics.median(waits_ms), "ms"),
        Figure(f"{name}, longest wait", max(waits_ms), "ms"),
        Figure(f"{name}, most answered while one waited", most_overtaken(answered), "answers"),
    ]


def most_overtaken(answered: Sequence[Answered]) -> int:
    """Most answers to other users that ended while one question waited: in a fair queue at most one for each other user.

    There is one model, so whatever began before a question's own turn had ended by then. Beginnings are compared because they
    lie a whole answer apart; an end is heard of some milliseconds late, when the next answer has begun.
    """
    return max(sum(each.user != waiting.user and _ended_in_between(each, waiting) for each in answered) for waiting in answered)


def _ended_in_between(other: Answered, waiting: Answered) -> bool:
    """Whether ``other`` was still to end when ``waiting`` was asked, and had its turn before it."""
    return other.ended_s > waiting.asked_s and other.started_s < waiting.started_s


def _all_at_once(engine: Engine, image: DecodedImage, budget: int, num_users: int, num_new_tokens: int) -> list[Answered]:
    """Two questions of each user."""
    barrier = Barrier(num_users)

    def converse(user: int) -> list[Answered]:
        session_id = f"user-{user}"
        answered = []
        barrier.wait()
        try:
            for is_second in (False, True):
                asked_s = time.perf_counter()
                stats = ask(engine, session_id, image, budget, num_new_tokens, is_second)
                answered.append(Answered(user, asked_s, time.perf_counter(), stats))
        finally:
            engine.forget(session_id)
        return answered

    with ThreadPoolExecutor(num_users) as pool:
        return [each for answered in pool.map(converse, range(num_users)) for each in answered]
