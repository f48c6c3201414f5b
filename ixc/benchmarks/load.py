"""Fifty users at once: ``python -m ixc.benchmarks.load --users 50 --seconds 300``, without a browser.

Each user is a tab with a sign of its own and asks the small model what it says, again and again, with pauses as people make.
Every answer must be the one this sign gets when its user is alone (greedy, so that it is always the same): what belongs to
another user's sign would be cross-talk. A question may be refused because the line is full, in words; anything else that is not
an answer is an error. The places that waiting users are told must only ever come nearer.
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx
from PIL import Image, ImageDraw, ImageFont

from ixc.benchmarks.app_process import AppProcess, describe_hardware, settings_of_the_shell
from ixc.benchmarks.measuring import Figure, write_result
from ixc.benchmarks.out_file import check_out
from ixc.benchmarks.page_client import PageClient
from ixc.errors import SettingsError

_QUESTION = "What does the sign say?"
_ANSWER_TOKENS = 16
_PAUSE_S = (0.5, 4.0)
_MEMORY_EVERY_S = 5.0
_REFUSALS = ("EngineBusy",)
_MAX_GROWTH_MB = 50.0


@dataclass(slots=True)
class Tally:
    """What one user met."""

    latencies_s: list[float] = field(default_factory=list)
    first_words_s: list[float] = field(default_factory=list)
    num_refused: int = 0
    num_told_their_place: int = 0
    worst_place: int = 0
    errors: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)

    @property
    def num_questions(self) -> int:
        """Answered or refused so far; another thread may ask."""
        return len(self.latencies_s) + self.num_refused


@dataclass(frozen=True, slots=True)
class MemorySample:
    """The server's memory after so many questions of all users."""

    num_questions: int
    resident_mb: float


@dataclass(frozen=True, slots=True)
class LoadReport:
    """All users' tallies, and the server's memory over time."""

    hardware: str
    num_users: int
    seconds: float
    max_waiting: int
    tallies: tuple[Tally, ...]
    memory: tuple[MemorySample, ...]
    left: dict[str, object]
    """/status after everybody had left."""

    def total(self, name: str) -> int:
        """Of a count, or the number of entries of a list."""
        values = (getattr(tally, name) for tally in self.tallies)
        return sum(value if isinstance(value, int) else len(value) for value in values)

    def all(self, name: str) -> list[float]:
        return [value for tally in self.tallies for value in getattr(tally, name)]

    @property
    def quarters(self) -> tuple[MemorySample, ...]:
        """The medians of the run's four quarters; empty if it was too short."""
        length = len(self.memory) // 4
        parts = [self.memory[index * length : (index + 1) * length] for index in range(4)] if length else []
        return tuple(
            MemorySample(
                round(statistics.median(sample.num_questions for sample in part)),
                statistics.median(sample.resident_mb for sample in part),
            )
            for part in parts
        )

    @property
    def growth_mb(self) -> float:
        """From the second quarter of the run to the last: caches are filled by then. 0 if it was too short."""
        return self.quarters[3].resident_mb - self.quarters[1].resident_mb if self.quarters else 0.0

    @property
    def growth_mb_per_1000(self) -> tuple[float, ...]:
        """From each quarter to the next, per 1,000 questions: a leak goes on at the same pace, what fills up comes to rest."""
        return tuple(
            1000 * (after.resident_mb - before.resident_mb) / max(1, after.num_questions - before.num_questions)
            for before, after in pairwise(self.quarters)
        )

    @property
    def complaints(self) -> list[str]:
        """Why the run was no success; empty if it was one."""
        found = [*self.all("errors"), *(f"cross-talk: {text}" for text in self.all("crossed"))]
        if not self.total("latencies_s"):
            found.append("nobody was answered")
        if self.growth_mb > _MAX_GROWTH_MB:
            found.append(f"memory grew by {self.growth_mb:.0f} MB")
        if self.left["in_line"]:
            found.append(f"{self.left['in_line']} places are still taken in the line")
        return found


def run_load(app: AppProcess, num_users: int, seconds: float, max_waiting: int, seed: int = 0) -> LoadReport:
    """Let ``num_users`` ask for ``seconds``. The users come at random moments of the first seconds."""
    pictures = [_sign(index) for index in range(num_users)]
    expected = _answers_alone(app.url, pictures)
    tallies = tuple(Tally() for _ in range(num_users))
    stop, memory = threading.Event(), []
    deadline_s = time.monotonic() + seconds
    watcher = threading.Thread(target=_watch_memory, args=(app, tallies, stop, memory))
    watcher.start()
    try:
        with ThreadPoolExecutor(num_users) as users:
            futures = [
                users.submit(_use, app.url, pictures[index], expected[index], deadline_s, random.Random(seed + index), tally)  # noqa: S311
                for index, tally in enumerate(tallies)
            ]
            for future in futures:
                future.result()
    finally:
        stop.set()
        watcher.join()
    memory.append(_sample(app, tallies))
    return LoadReport(describe_hardware(), num_users, seconds, max_waiting, tallies, tuple(memory), _settled(app))


def _answers_alone(url: str, pictures: Sequence[bytes]) -> list[str]:
    """What each picture is answered while nobody else is there."""
    answers = []
    for picture in pictures:
        page = _open_page(url, picture)
        try:
            *_, transcript = page.ask(_QUESTION)
            answers.append(transcript["exchanges"][-1]["answer"])
        finally:
            page.close()
    return answers


def _use(url: str, picture: bytes, expected: str, deadline_s: float, dice: random.Random, tally: Tally) -> None:
    """One user, until ``deadline_s``: asks, reads, pauses; comes back with a new tab after some questions."""
    page: PageClient | None = None
    try:
        time.sleep(dice.uniform(0, min(_PAUSE_S[1], max(0.0, deadline_s - time.monotonic()) / 2)))
        while time.monotonic() < deadline_s:
            if page is None:
                page = _open_page(url, picture)
            _ask_once(page, expected, tally)
            if dice.random() < 0.2:
                page.close()
                page = None
            time.sleep(min(dice.uniform(*_PAUSE_S), max(0.0, deadline_s - time.monotonic())))
    except (httpx.HTTPError, TimeoutError, OSError, KeyError, IndexError) as error:
        tally.errors.append(f"{type(error).__name__}: {error}")
    finally:
        if page is not None:
            page.close()


def _open_page(url: str, picture: bytes) -> PageClient:
    page = PageClient(url)
    page.upload("sign.png", picture)
    page.move_slider(1)
    page.set_value("ixc-length", _ANSWER_TOKENS)
    page.set_value("ixc-temperature", 0)
    return page


def _ask_once(page: PageClient, expected: str, tally: Tally) -> None:
    """A question in a conversation of its own, so that its answer does not depend on those before."""
    page.call("ixc-transcript", "clear")
    started_s = time.monotonic()
    places: list[int] = []
    has_words = False
    transcript: dict[str, object] = {}
    for transcript in page.ask(_QUESTION):
        live = transcript["live"]
        if live and live["stage"] == "line":
            places.append(live["total"])
        if live and live["text"] and not has_words:
            has_words = True
            tally.first_words_s.append(time.monotonic() - started_s)
    if places:
        tally.num_told_their_place += 1
        tally.worst_place = max(tally.worst_place, *places)
        if any(later > earlier for earlier, later in pairwise(places)):
            tally.errors.append(f"a place in the line got worse: {places}")
    refusal = transcript.get("error") or (transcript["exchanges"][-1]["error"] if transcript.get("exchanges") else None)
    if refusal:
        if refusal["code"] in _REFUSALS and refusal["detail"]:
            tally.num_refused += 1
        else:
            tally.errors.append(f"{refusal['code']}: {refusal['detail']}")
        return
    tally.latencies_s.append(time.monotonic() - started_s)
    answer = transcript["exchanges"][-1]["answer"]
    if answer != expected:
        tally.crossed.append(f"{answer!r} instead of {expected!r}")


def _watch_memory(app: AppProcess, tallies: Sequence[Tally], stop: threading.Event, memory: list[MemorySample]) -> None:
    memory.append(_sample(app, tallies))
    while not stop.wait(_MEMORY_EVERY_S):
        memory.append(_sample(app, tallies))


def _sample(app: AppProcess, tallies: Sequence[Tally]) -> MemorySample:
    return MemorySample(sum(tally.num_questions for tally in tallies), app.resident_bytes() / 1e6)


def _settled(app: AppProcess, timeout_s: float = 30.0) -> dict[str, object]:
    """/status once the line is empty, or after ``timeout_s``."""
    deadline_s = time.monotonic() + timeout_s
    while (status := app.status())["in_line"] and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return status


def _sign(index: int) -> bytes:
    """A sign whose one line no other user has."""
    image = Image.new("RGB", (336, 336), "white")
    draw = ImageDraw.Draw(image)
    draw.text((168, 168), f"ROOM {100 + 7 * index}", fill="black", anchor="mm", font=ImageFont.load_default(40))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def report_text(report: LoadReport) -> str:
    latencies, first_words = report.all("latencies_s"), report.all("first_words_s")
    lines = [
        f"{report.num_users} users for {report.seconds:.0f} s, {report.max_waiting} may wait; {report.hardware}",
        f"answers         {len(latencies)} ({len(latencies) / report.seconds:.1f} a second)",
        f"refused kindly  {report.total('num_refused')}",
        f"told a place    {report.total('num_told_their_place')}, at worst place {max(t.worst_place for t in report.tallies)}",
        f"errors          {report.total('errors')}",
        f"cross-talk      {report.total('crossed')}",
        f"first words     median {_percentile(first_words, 0.5):.2f} s, p95 {_percentile(first_words, 0.95):.2f} s",
        f"whole answers   median {_percentile(latencies, 0.5):.2f} s, p95 {_percentile(latencies, 0.95):.2f} s",
        f"memory          {report.memory[0].resident_mb:.0f} MB at first, {report.memory[-1].resident_mb:.0f} MB at last, "
        f"{report.growth_mb:+.0f} MB from the second quarter to the last",
    ]
    if report.quarters:
        sizes = ", ".join(f"{quarter.resident_mb:.0f}" for quarter in report.quarters)
        rates = ", ".join(f"{rate:+.1f}" for rate in report.growth_mb_per_1000)
        lines.append(f"by quarter      {sizes} MB: {rates} MB per 1000 questions")
    return "\n".join([*lines, *(f"NO  {complaint}" for complaint in report.complaints[:10])])


def figures(report: LoadReport) -> list[Figure]:
    """What is written of a run."""
    num_answers, first_words = report.total("latencies_s"), report.all("first_words_s")
    shares = (("median", 0.5), ("p95", 0.95)) if first_words else ()
    quarters = [Figure(f"memory, quarter {n}", each.resident_mb, "MB") for n, each in enumerate(report.quarters, start=1)]
    return [
        Figure("answers", num_answers, "answers"),
        Figure("answers a second", num_answers / report.seconds, "a second"),
        *(Figure(f"first words, {name}", _percentile(first_words, share), "s") for name, share in shares),
        Figure("refused kindly", report.total("num_refused"), "questions"),
        Figure("errors", report.total("errors"), "errors"),
        Figure("cross-talk", report.total("crossed"), "answers"),
        *quarters,
        Figure("memory at last", report.memory[-1].resident_mb, "MB"),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Many users at once, without a browser.")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--max-waiting", type=int, default=20, help="IXC_MAX_WAITING of the app (default: %(default)s)")
    parser.add_argument("--model", default="ixc-nano")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    args = parser.parse_args(argv)
    try:
        if args.out:
            check_out(args.out)
    except SettingsError as error:
        parser.error(str(error))
    chosen = {"IXC_MODEL": args.model, "IXC_MAX_WAITING": str(args.max_waiting)}
    with AppProcess(settings_of_the_shell() | chosen) as app:
        if app.wait_for_model() != "ready":
            sys.stderr.write(app.log()[-2000:])
            return 1
        report = run_load(app, args.users, args.seconds, args.max_waiting)
    sys.stdout.write(report_text(report) + "\n")
    if args.out:
        asked = {"model": args.model, "users": args.users, "seconds": args.seconds, "max_waiting": args.max_waiting}
        write_result(args.out, asked, figures(report))
    return 1 if report.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
