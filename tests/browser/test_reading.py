"""The model that comes along, asked a real question on the real page: the budget decides whether the answer is right."""

from __future__ import annotations

import pytest

from ixc.benchmarks.app_process import AppProcess

QUESTION, ANSWER = "What does the sign say?", "PLATFORM 7"


@pytest.fixture(scope="module")
def nano(browser_type_launch_args):
    with AppProcess({"IXC_MODEL": "ixc-nano"}) as running:
        assert running.wait_for_model() == "ready", running.log()
        yield running


def test_the_example_sign_is_misread_in_one_view_and_read_in_three_tiles(visit, nano):
    user = visit(nano.url)
    user.page.locator(".ixc-example").first.click()
    user.page.wait_for_selector("#ixc-overlay svg")
    user.set_budget(1)
    user.ask(QUESTION)
    user.wait_for_answer(1)
    user.set_budget(3)
    user.ask(QUESTION)
    user.wait_for_answer(2)
    # The first lines are for screen readers: they name whose words follow.
    with_one, with_three = (answer.strip().splitlines()[-1] for answer in user.answers())
    assert with_one != ANSWER
    assert with_three == ANSWER
