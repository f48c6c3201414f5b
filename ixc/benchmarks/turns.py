"""First and second questions about an image: ours through the engine, the official code's with everything again each turn."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from ixc.benchmarks.baseline import BaselineAnswer, BaselineChat
from ixc.benchmarks.measuring import Figure, Target
from ixc.chat.engine import Engine
from ixc.chat.events import AnswerStats, Finished
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView, Turn, build_prompt
from ixc.imaging.decode import DecodedImage
from ixc.settings import GenerationSettings

QUESTION, SECOND_QUESTION = "What does the text say?", "And what is written below it?"
ANSWER = "a sign"
"""What the second question's conversation holds as the first answer: the same for both sides and in every repetition."""
_NUM_BEAMS = 3


@dataclass(frozen=True, slots=True)
class Targets:
    """Of the figures that have one; None: no target."""

    first_turn: Target | None = None
    first_turn_beams: Target | None = None
    second_turn: Target | None = None
    decode: Target | None = None


@dataclass(slots=True)
class _Measured:
    first: list[AnswerStats] = field(default_factory=list)
    second: list[AnswerStats] = field(default_factory=list)
    greedy: list[BaselineAnswer] = field(default_factory=list)
    beams: list[BaselineAnswer] = field(default_factory=list)
    again: list[BaselineAnswer] = field(default_factory=list)


def ask(engine: Engine, session_id: str, image: DecodedImage, budget: int, num_new_tokens: int, is_second: bool) -> AnswerStats:
    """One greedy answer's statistics; the second question follows the first in its conversation."""
    view = ImageView(image.image_id, budget)
    turns = (Turn(QUESTION, ANSWER, view),) if is_second else ()
    question = SECOND_QUESTION if is_second else QUESTION
    generation = GenerationSettings(max_new_tokens=num_new_tokens, do_sample=False)
    request = ChatRequest(session_id, question, view, turns, {image.image_id: image}, generation=generation)
    *_, last = engine.answer(request, StopFlag())
    if not isinstance(last, Finished):
        raise RuntimeError(f"an answer ended with {last!r}")
    return last.stats


class TurnBenchmark:
    """One image at one budget. Every answer is greedy, or of three beams, and has exactly ``num_new_tokens``."""

    def __init__(self, engine: Engine, baseline: BaselineChat, image: DecodedImage, budget: int, num_new_tokens: int) -> None:
        self._engine, self._baseline, self._image = engine, baseline, image
        self._budget, self._num_new = budget, num_new_tokens

    def figures(self, repeats: int, targets: Targets, *, with_beams: bool = True) -> list[Figure]:
        """All sides take turns within each repetition; the first repetition does not count."""
        measured = _Measured()
        for repetition in range(repeats + 1):
            self._measure(measured if repetition else _Measured(), with_beams)
        name = f"HD-{self._budget}"
        first_ms, second_ms, greedy_ms = _ttft_ms(measured.first), _ttft_ms(measured.second), _ttft_ms(measured.greedy)
        figures = [Figure(f"{name} first token, first turn", first_ms, "ms", greedy_ms, "official, greedy", targets.first_turn)]
        if with_beams:
            beams_ms = _ttft_ms(measured.beams)
            figures.append(
                Figure(
                    f"{name} first token, first turn", first_ms, "ms", beams_ms, "official, 3 beams", targets.first_turn_beams
                )
            )
        again_ms = _ttft_ms(measured.again)
        figures.append(
            Figure(f"{name} first token, second turn", second_ms, "ms", again_ms, "everything again", targets.second_turn)
        )
        return [*figures, self._decode(measured, targets.decode)]

    def _decode(self, measured: _Measured, target: Target | None) -> Figure:
        ours = statistics.median(stats.decode_tokens_per_s for stats in measured.first)
        theirs = statistics.median((self._num_new - 1) / (answer.decode_ms / 1000) for answer in measured.greedy)
        return Figure(f"HD-{self._budget} decode", ours, "tokens/s", theirs, "generate", target=target, is_larger_better=True)

    def _measure(self, measured: _Measured, with_beams: bool) -> None:
        session_id = f"turns-{self._budget}"
        self._engine.forget(session_id)
        measured.first.append(ask(self._engine, session_id, self._image, self._budget, self._num_new, False))
        measured.greedy.append(self._official(is_second=False))
        # In between comes what happens between two questions: something else runs, caches of the processor go cold.
        measured.second.append(ask(self._engine, session_id, self._image, self._budget, self._num_new, True))
        measured.again.append(self._official(is_second=True))
        if with_beams:
            measured.beams.append(self._official(is_second=False, num_beams=_NUM_BEAMS))
        self._engine.forget(session_id)

    def _official(self, *, is_second: bool, num_beams: int = 1) -> BaselineAnswer:
        view = ImageView(self._image.image_id, self._budget)
        turns = (Turn(QUESTION, ANSWER, view),) if is_second else ()
        parts = build_prompt("", turns, SECOND_QUESTION if is_second else QUESTION, view).parts
        pixels_HWC = self._image.pixels_HWC
        return self._baseline.ask(parts, pixels_HWC, self._budget, max_new_tokens=self._num_new, num_beams=num_beams)


def _ttft_ms(answers: Sequence[AnswerStats | BaselineAnswer]) -> float:
    return statistics.median(answer.time_to_first_token_ms for answer in answers)
