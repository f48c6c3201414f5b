"""Several conversations at once: how much gets done, how long anyone waits, and whether all wait alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

import numpy as np

from ixc.benchmarks.baseline import BaselineChat
from ixc.benchmarks.measuring import Figure
from ixc.benchmarks.turns import ANSWER, QUESTION, SECOND_QUESTION, ask
from ixc.chat.engine import Engine
from ixc.chat.events import AnswerStats
from ixc.conversation import ImageView, Turn, build_prompt
from ixc.imaging.decode import DecodedImage

_STEP_PX = 8


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
    engine: Engine,
    baseline: BaselineChat,
    image: DecodedImage,
    budget: int,
    *,
    num_users: int,
    num_new_tokens: int,
    repeats: int,
) -> list[Figure]:
    """``num_users`` conversations of two questions each, every user's about a picture of its own: nothing is seen for two.

    Both sides take turns within each repetition; the first repetition does not count. The official code has no queue and keeps
    nothing, so it is asked one user's two questions, another user's in each repetition, and would take ``num_users`` times as
    long for all. Answers a minute are medians of the repetitions; the longest wait and the most overtaken are of all of them.
    """
    pictures = _one_each(image, num_users)
    ours_s, theirs_s, rounds = [], [], []
    for repetition in range(repeats + 1):
        start_s = time.perf_counter()
        answered = _all_at_once(engine, pictures, budget, num_new_tokens)
        end_s = time.perf_counter()
        _ask_official(baseline, pictures[repetition % num_users], budget, num_new_tokens)
        if repetition:
            ours_s.append(end_s - start_s)
            theirs_s.append((time.perf_counter() - end_s) * num_users)
            rounds.append(answered)
    num_answers = 2 * num_users
    name = f"HD-{budget} {num_users} conversations, a picture each"
    per_minute = Figure(
        f"{name}, answers",
        60 * num_answers / statistics.median(ours_s),
        "a minute",
        60 * num_answers / statistics.median(theirs_s),
        "official, one after the other",
        is_larger_better=True,
    )
    waits_ms = [each.stats.waited_ms for answered in rounds for each in answered]
    return [
        per_minute,
        Figure(f"{name}, median wait", statistics.median(waits_ms), "ms"),
        Figure(f"{name}, longest wait", max(waits_ms), "ms"),
        Figure(f"{name}, most answered while one waited", max(map(most_overtaken, rounds)), "answers"),
    ]


def describe_conversations(num_users: int, repeats: int) -> dict[str, object]:
    """How the figures of several conversations were got."""
    return {
        "users": num_users,
        "pictures": num_users,
        "repeats": repeats,
        "warm_up": 1,
        "official": "one user's two answers in each repetition, times the users",
    }


def _one_each(image: DecodedImage, num: int) -> list[DecodedImage]:
    """The picture moved sideways by some pixels, and so another one for every user."""
    return [DecodedImage.from_pixels(np.roll(image.pixels_HWC, _STEP_PX * user, axis=1)) for user in range(num)]


def _ask_official(baseline: BaselineChat, image: DecodedImage, budget: int, num_new_tokens: int) -> None:
    """Both questions of one conversation."""
    view = ImageView(image.image_id, budget)
    for turns, question in (((), QUESTION), ((Turn(QUESTION, ANSWER, view),), SECOND_QUESTION)):
        parts = build_prompt("", turns, question, view).parts
        baseline.ask(parts, image.pixels_HWC, budget, max_new_tokens=num_new_tokens)


def most_overtaken(answered: Sequence[Answered]) -> int:
    """Most answers to other users that ended while one question waited: in a fair queue at most one for each other user.

    There is one model, so whatever began before a question's own turn had ended by then. Beginnings are compared because they
    lie a whole answer apart; an end is heard of some milliseconds late, when the next answer has begun.
    """
    return max(sum(each.user != waiting.user and _ended_in_between(each, waiting) for each in answered) for waiting in answered)


def _ended_in_between(other: Answered, waiting: Answered) -> bool:
    """Whether ``other`` was still to end when ``waiting`` was asked, and had its turn before it."""
    return other.ended_s > waiting.asked_s and other.started_s < waiting.started_s


def _all_at_once(engine: Engine, pictures: Sequence[DecodedImage], budget: int, num_new_tokens: int) -> list[Answered]:
    """Two questions of each user about its picture."""
    num_users = len(pictures)
    barrier = Barrier(num_users)

    def converse(user: int) -> list[Answered]:
        session_id = f"user-{user}"
        answered = []
        barrier.wait()
        try:
            for is_second in (False, True):
                asked_s = time.perf_counter()
                stats = ask(engine, session_id, pictures[user], budget, num_new_tokens, is_second)
                answered.append(Answered(user, asked_s, time.perf_counter(), stats))
        finally:
            engine.forget(session_id)
        return answered

    with ThreadPoolExecutor(num_users) as pool:
        return [each for answered in pool.map(converse, range(num_users)) for each in answered]
