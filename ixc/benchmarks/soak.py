"""Does the app leak? ``python -m ixc.benchmarks.soak --chats 200``: visits that end in every way a visit can end.

Each visit is a tab: it uploads a picture, asks, and then waits for the end, presses Stop at a random moment, or just closes in
the middle of the answer. Who waits must get an answer. Afterwards no session, picture or cache may be left, and the process may
not have grown.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ixc.benchmarks.app_process import AppProcess, describe_hardware, settings_of_the_shell
from ixc.benchmarks.page_client import PageClient

_ENDINGS = ("finish", "stop", "close")
_SETTLE_TIMEOUT_S = 60.0
MAX_GROWTH_MB = 40.0
"""Allowed in the second half. Each visit brings a picture of 115 KB, its tiles, some MB of cache: thirty, kept, would show."""


@dataclass(frozen=True, slots=True)
class SoakReport:
    """What was left after the visits."""

    num_chats: int
    endings: dict[str, int]
    num_answered: int
    """Of the visits that waited for the end: those that got an answer and no error."""
    resident_mb: tuple[float, ...]
    """After each tenth of the visits."""
    left: dict[str, object]
    """/status once everything had ended."""

    @property
    def growth_mb(self) -> float:
        """From the middle of the run to its end: the first half fills pools and caches that are kept on purpose."""
        return self.resident_mb[-1] - self.resident_mb[len(self.resident_mb) // 2]

    @property
    def leftovers(self) -> dict[str, int]:
        """Everything that should be zero and is not."""
        return _leftovers(self.left)

    @property
    def complaints(self) -> list[str]:
        """Why the run was no success; empty if it was one."""
        found = [f"{count} left over: {name}" for name, count in self.leftovers.items()]
        num_unanswered = self.endings["finish"] - self.num_answered
        if num_unanswered:
            found.append(f"{num_unanswered} of {self.endings['finish']} visits that waited for their answer got none")
        if self.growth_mb > MAX_GROWTH_MB:
            found.append(f"memory grew by {self.growth_mb:.0f} MB in the second half; {MAX_GROWTH_MB:.0f} are allowed")
        return found


def run_soak(app: AppProcess, num_chats: int, num_users: int = 3, seed: int = 0) -> SoakReport:
    """Let ``num_users`` at a time make ``num_chats`` visits."""
    dice = random.Random(seed)  # noqa: S311  not for secrets
    visits = [(_ENDINGS[index % 3], dice.random(), dice.randrange(1000)) for index in range(num_chats)]
    resident_mb, num_answered, tenth = [], 0, max(1, num_chats // 10)
    with ThreadPoolExecutor(num_users) as users:
        for start in range(0, num_chats, tenth):
            num_answered += sum(users.map(lambda visit: _visit(app.url, *visit), visits[start : start + tenth]))
            resident_mb.append(app.resident_bytes() / 1e6)
    left = _settle(app)
    endings = {ending: sum(visit[0] == ending for visit in visits) for ending in _ENDINGS}
    return SoakReport(num_chats, endings, num_answered, tuple(resident_mb), left)


def _visit(url: str, ending: str, moment: float, picture_seed: int) -> bool:
    """Whether it waited for an answer and got one.

    ``moment`` (0 to 1) is when the answer is stopped or left: before its first word for small values.
    """
    transcript: dict[str, Any] = {}
    page = PageClient(url)
    try:
        page.upload("visit.png", _picture(picture_seed))
        page.move_slider(1 + picture_seed % 2)
        page.set_value("ixc-length", 16)
        last_update = round(moment * 8)
        for number, transcript in enumerate(page.ask("What does it say?")):
            if transcript["live"] is None and number > 0:
                break
            if ending == "stop" and number == last_update:
                page.stop()
            if ending == "close" and number == last_update:
                break
    finally:
        page.close()
    return ending == "finish" and _has_answer(transcript)


def _has_answer(transcript: dict[str, Any]) -> bool:
    """Whether the last exchange ended with words and no error."""
    if not transcript or transcript["live"] or transcript["error"] or not transcript["exchanges"]:
        return False
    last = transcript["exchanges"][-1]
    return bool(last["answer"]) and not last["error"]


def _picture(seed: int) -> bytes:
    """A small picture that no other visit has, so that nothing is shared between visits."""
    pixels = np.random.default_rng(seed).integers(0, 256, (160, 240, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _settle(app: AppProcess) -> dict[str, object]:
    """/status when the last tabs are closed and the last answers stopped, or as it is after a minute."""
    deadline_s = time.monotonic() + _SETTLE_TIMEOUT_S
    while True:
        left = app.status()
        if not _leftovers(left) or time.monotonic() > deadline_s:
            return left
        time.sleep(0.2)


def _leftovers(left: dict[str, Any]) -> dict[str, int]:
    """What of a /status should be zero and is not."""
    sessions, engine = dict(left["sessions"]), dict(left["engine"])
    engine.pop("model_bytes", None)  # the weights are meant to stay
    counts = {**{f"page {k}": v for k, v in sessions.items()}, **{f"engine {k}": v for k, v in engine.items()}}
    return {name: count for name, count in {**counts, "in line": left["in_line"]}.items() if count}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chats", type=int, default=200)
    parser.add_argument("--users", type=int, default=3, help="visits at a time")
    parser.add_argument("--model", help="default: the app's")
    args = parser.parse_args(argv)
    with AppProcess(settings_of_the_shell() | ({"IXC_MODEL": args.model} if args.model else {})) as app:
        phase = app.wait_for_model()
        sys.stdout.write(f"{args.chats} chats, {args.users} at a time; {describe_hardware()}; model {phase}\n")
        report = run_soak(app, args.chats, args.users)
    sys.stdout.write("resident MB: " + " ".join(f"{mb:.0f}" for mb in report.resident_mb) + "\n")
    sys.stdout.write(f"second half: {report.growth_mb:+.1f} MB; left over: {report.leftovers or 'nothing'}\n")
    sys.stdout.write(f"answered: {report.num_answered} of the {report.endings['finish']} that waited for the end\n")
    sys.stdout.writelines(f"NO  {complaint}\n" for complaint in report.complaints)
    return 1 if report.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
