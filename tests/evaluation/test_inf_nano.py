"""What counts as legible to INF-LLaVA, and the figures of both models' answers about the same documents."""

import pytest

from ixc.evaluation.held_out import KNOWN, Task
from ixc.evaluation.inf_nano import as_inf_task, document_figures
from ixc.evaluation.nano import Reading
from ixc.tiling import SizePx
from ixc.training import asking


def _task(smallest_px: float | None) -> Task:
    return Task(b"", SizePx(400, 1008), "field", "Total?", "Total: 5", KNOWN, smallest_px)


@pytest.mark.parametrize(
    ("smallest_px", "at_336", "at_1008"),
    # 14 pixels of 336 are 42 of 1008, doubtful from 33.6; at 1008 half a token of 42 pixels, 21, doubtful from 16.8.
    [(43, True, True), (34, None, True), (33, False, True), (22, False, True), (17, False, None), (16, False, False)],
)
def test_legibility_is_that_of_the_padded_square(smallest_px, at_336, at_1008):
    task = as_inf_task(_task(smallest_px))
    assert (task.is_legible(1), task.is_legible(9)) == (at_336, at_1008)
    assert as_inf_task(_task(None)).is_legible(1)


def test_figures_of_answers_at_one_input():
    """By hand: of three legible ones one is right and one refused; of two tiny ones one is refused, in other words."""
    legible, tiny = as_inf_task(_task(50)), as_inf_task(_task(10))
    answers = [(legible, "Total: 5"), (legible, "Total: 6"), (legible, asking.TOO_SMALL), (tiny, asking.TOO_SMALL_AT_336)]
    figures = document_figures([*(Reading(task, 1, answer) for task, answer in answers), Reading(tiny, 1, "Total: 5")])
    assert figures["all"]["exact"] == figures["known"]["exact"] == figures["tasks"]["field"]["exact"] == 0.4
    assert figures["legible"]["exact"] == 0.3333
    assert figures["too_small"] == {"num": 2, "said_so": 0.5}
    assert figures["wrongly_refused"] == 0.3333
