"""The model that comes along, asked a real question on the real page: the budget decides whether the answer is right."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from ixc.benchmarks.app_process import AppProcess
from ixc.ui.examples import load_examples
from tests.browser.conftest import TIMEOUT_MS

EXAMPLES = load_examples()
ANSWERS = ("PLATFORM 7", "Fresh bread", "Date: 14.03.2026", "Soup $6.80", "To: Lisbon")
"""Of the small model, to the questions that the examples for it come with."""
SIGN, DELIVERY_NOTE = 0, 2
"""Places in the strip of examples."""


@pytest.fixture(scope="module")
def nano(browser_type_launch_args):
    with AppProcess({"IXC_MODEL": "ixc-nano"}) as running:
        assert running.wait_for_model() == "ready", running.log()
        yield running


def ask_at(user, budget, question):
    """The last line of the answer; the first ones are for screen readers and name whose words follow."""
    number = len(user.answers()) + 1
    user.set_budget(budget)
    user.ask(question)
    user.wait_for_answer(number)
    return user.answers()[-1].strip().splitlines()[-1]


def choose_example(user, place):
    before = user.page.evaluate("ixc.last('image')?.id ?? ''")
    user.page.locator(".ixc-example").nth(place).click()
    user.page.wait_for_function(
        """before => ixc.last('image') && ixc.last('image').id !== before
            && ixc.last('plan')?.imageId === ixc.last('image').id""",
        arg=before,
    )
    user.page.wait_for_selector("#ixc-overlay svg")


def wait_until_read(user):
    """Until the page says that the model has read what it shows."""
    said = user.page.locator('[data-fact="cost"]', has_text="the image is read")
    said.wait_for(timeout=4 * TIMEOUT_MS)  # the page looks ever more rarely


def test_the_slider_starts_with_the_models_own_budget(visit, nano):
    user = visit(nano.url)
    user.page.wait_for_function("() => document.querySelector('.ixc-budget-value').innerText === '9'")
    user.set_slider(4)  # which is somebody's, and stays
    user.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    with user.page.expect_response("**/run/predict*"):
        user.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert user.page.locator(".ixc-budget-value").inner_text() == "4"


def test_examples_for_small_models_are_read_just_as_they_are_offered(visit, nano):
    user = visit(nano.url)
    for place, answer in enumerate(ANSWERS):
        choose_example(user, place)
        expect(user.page.locator("#ixc-question textarea")).to_have_value(EXAMPLES[place].questions["en"])
        expect(user.page.locator("#ixc-pending-note", has_text="needs a larger model")).to_have_count(0)
        user.page.click("#ixc-send")
        user.wait_for_answer(place + 1)
        assert user.answers()[-1].strip().splitlines()[-1] == answer


def test_examples_beyond_the_model_are_marked_and_it_is_said_before_they_are_asked_about(visit, nano):
    user = visit(nano.url)
    marked = user.page.locator('.ixc-example[data-beyond="true"]')
    expect(marked).to_have_count(len(EXAMPLES) - len(ANSWERS))
    assert marked.first.get_attribute("aria-label").startswith("Example for a larger model: Receipt.")
    marked.first.click()
    note = user.page.locator("#ixc-pending-note")
    expect(note).to_have_text(re.compile("^This example needs a larger model: ixc-nano shows how it is cut"))
    choose_example(user, SIGN)
    expect(note).to_be_hidden()
    user.page.click('[data-language="zh"]')
    assert marked.first.get_attribute("aria-label").startswith("适合更大模型的示例：购物小票。")


def test_a_delivery_note_is_too_small_in_one_view_and_read_in_many_tiles(visit, nano):
    user = visit(nano.url)
    choose_example(user, DELIVERY_NOTE)
    assert ask_at(user, 1, "What is the date?").startswith("The text is too small to read here. Try ")
    assert ask_at(user, 16, "What is the date?") == "Date: 14.03.2026"
    assert ask_at(user, 25, "What is the date?") == "Date: 14.03.2026"


def test_the_image_is_read_while_its_user_types(visit, nano):
    user = visit(nano.url)
    choose_example(user, DELIVERY_NOTE)
    user.set_budget(16)
    wait_until_read(user)
    user.ask("What is the date?")
    user.wait_for_answer(1)
    assert user.answers()[0].strip().splitlines()[-1] == "Date: 14.03.2026"
    num_prompt, num_cached = (
        int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:prompt tokens|from cache)", user.stats()[0])
    )
    assert num_prompt - 30 < num_cached < num_prompt
    user.set_budget(25)
    wait_until_read(user)
    assert len(user.answers()) == 1


def test_fields_of_the_delivery_note(visit, nano):
    user = visit(nano.url)
    choose_example(user, DELIVERY_NOTE)
    for question, answer in (
        ("What is the total?", "Total: $86.40"),
        ("What is the order number?", "Order no.: 48213"),
        ("What is the city?", "City: Lisbon"),
        ("What is the weight?", "Weight: 12.5 kg"),
    ):
        assert ask_at(user, 25, question) == answer
        user.page.click("#ixc-new")  # each is asked alone
        expect(user.page.locator(".ixc-exchange")).to_have_count(0)
