"""Whatever a user typed is answered or still stands in its field, however the network mixes up what it carries."""

from __future__ import annotations

import httpx

from ixc.ui.app import _MAX_GRADIO_SESSIONS
from tests.browser.conftest import Held, Visitor, function_of

LATE_END = """
(() => {
  const request = window.fetch;
  let letGo;
  const accepted = new Promise((resolve) => { letGo = resolve; });
  window.isEndHeld = false;
  function withLateEnd(response) {
    const encoder = new TextEncoder();
    const decoder = new TextDecoder();
    const body = response.body.pipeThrough(new TransformStream({
      async transform(bytes, out) {
        const text = decoder.decode(bytes, { stream: true });
        const end = text.search(/data: ?\\{[^\\n]*"close_stream"/);
        if (end < 0 || window.isEndHeld) return out.enqueue(bytes);
        if (end > 0) out.enqueue(encoder.encode(text.slice(0, end)));
        window.isEndHeld = true;
        await accepted;
        out.enqueue(encoder.encode(text.slice(end)));
      },
    }));
    return new Response(body, { status: response.status, headers: response.headers });
  }
  window.fetch = async (input, init) => {
    const path = new URL(input.url ?? input, location.href).pathname;
    const response = await request(input, init);
    if (path.endsWith("/queue/data")) return withLateEnd(response);
    if (path.endsWith("/queue/join") && window.isEndHeld) setTimeout(letGo, 300);
    return response;
  };
})();
"""
"""Below the page's own scripts: the end of the first event stream comes 300 ms after the next question was accepted, as it does
when the connection that carries it lost a packet."""


def field(user: Visitor) -> str:
    return user.page.input_value("#ixc-question textarea")


def test_a_question_accepted_before_the_end_of_the_last_stream_is_known_is_answered(visit):
    user = visit(init_script=LATE_END)
    user.limit_answer(3)
    user.ask("one")
    user.wait_for_answer(1)
    user.page.wait_for_function("() => window.isEndHeld")
    user.ask("two")
    user.wait_for_answer(2)
    user.ask("three")
    user.wait_for_answer(3)
    assert field(user) == ""


def test_a_draft_outlives_the_start_of_an_answer_and_a_retry(visit):
    user = visit()
    user.limit_answer(3)
    held = Held(user, "**/queue/join*")
    user.ask("one")
    held.wait()
    user.page.fill("#ixc-question textarea", "a draft")  # while the question is on its way
    held.let_go()
    user.wait_for_answer(1)
    assert field(user) == "a draft"
    user.page.evaluate("window.kept = document.querySelector('.ixc-exchange')")
    user.page.click('[data-action="retry"]')
    user.page.wait_for_function("() => !window.kept.isConnected && document.body.dataset.busy === 'false'")
    assert field(user) == "a draft"
    user.page.click("#ixc-send")
    user.wait_for_answer(2)
    assert field(user) == ""


def test_a_question_that_the_server_turned_away_can_be_sent_again(visit):
    user = visit()
    user.limit_answer(3)
    user.page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Queue is full."}), times=1)
    user.ask("one")
    user.page.get_by_text("This application is currently busy").first.wait_for()  # Gradio says it
    assert field(user) == "one"
    user.page.click("#ixc-send")
    user.wait_for_answer(1)
    assert field(user) == ""
    user.errors.clear()  # the browser's own line about the status


def test_an_enter_that_sends_nothing_does_not_bar_the_way(visit):
    """One that takes an input method's candidate, or comes with a command key, presses no character."""
    user = visit()
    user.limit_answer(3)
    user.page.fill("#ixc-question textarea", "one")
    user.page.evaluate(
        """() => document.querySelector("#ixc-question textarea").dispatchEvent(
            new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true, cancelable: true }))"""
    )
    user.page.click("#ixc-send")
    user.wait_for_answer(1)


def test_a_question_of_which_nothing_is_ever_heard_bars_the_way_for_seconds_only(visit):
    user = visit()
    user.limit_answer(3)
    assert user.page.evaluate("[ixc.maySend(), ixc.maySend()]") == [True, False]  # on its way, and lost there
    user.page.evaluate("() => { const now = performance.now(); performance.now = () => now + 20_000; }")
    user.ask("one")
    user.wait_for_answer(1)


def test_what_was_taken_back_or_offered_leaves_a_draft_alone(visit):
    user = visit()
    user.limit_answer(3)
    user.ask("one")
    user.wait_for_answer(1)
    user.page.fill("#ixc-question textarea", "a draft")
    user.page.click('[data-action="undo"]')
    user.page.wait_for_function("() => document.querySelectorAll('.ixc-exchange').length === 0")
    assert field(user) == "a draft"
    user.page.locator(".ixc-example").nth(0).click()
    user.page.wait_for_function("() => ixc.last('plan')?.plan.budget === 3")
    assert field(user) == "a draft"
    user.page.fill("#ixc-question textarea", "")
    for place in (3, 0):
        before = field(user)
        user.page.locator(".ixc-example").nth(place).click()
        user.page.wait_for_function("before => document.querySelector('#ixc-question textarea').value !== before", arg=before)
    assert field(user) == "What does the sign say?"  # which nobody typed, so that the next example's takes its place


def test_an_open_edit_outlives_a_click_on_the_language_and_another_question(visit):
    user = visit()
    user.limit_answer(3)
    for number, question in enumerate(("one", "two"), start=1):
        user.ask(question)
        user.wait_for_answer(number)
    user.page.locator('[data-action="edit"]').nth(1).click()
    user.page.fill(".ixc-edit", "two, changed")
    user.page.click('[data-language="zh"]')
    user.page.wait_for_function("() => document.querySelector('.ixc-editor .ixc-primary').innerText === '重新提问'")
    user.page.click('[data-language="en"]')
    user.ask("three")
    user.page.wait_for_function(
        "() => document.querySelectorAll('.ixc-exchange').length === 3 && document.body.dataset.busy === 'false'"
    )
    assert user.page.input_value(".ixc-edit") == "two, changed"
    user.page.locator(".ixc-edit").press("Escape")
    assert user.page.locator('[data-action="retry"]').count() == 1  # what the edit held up is made good
    assert user.page.evaluate("document.activeElement.dataset.action") == "edit"


def test_a_conversation_that_gradio_has_forgotten_goes_on(visit, app):
    user = visit()
    user.limit_answer(3)
    user.ask("one")
    user.wait_for_answer(1)
    first = user.answers()[0]
    forget_conversations(app.url)
    user.ask("two")
    user.wait_for_answer(2)
    assert user.answers()[0] == first
    assert not user.page.locator("#ixc-chat-notice").is_visible()  # nothing was lost


def forget_conversations(url: str) -> None:
    """As many other sessions as Gradio keeps put out what it held for the open page."""
    undo = function_of("undo", url)
    with httpx.Client(base_url=url) as client:
        for number in range(_MAX_GRADIO_SESSIONS + 1):
            body = {"fn_index": undo, "data": [None, None], "session_hash": f"other-{number}"}
            client.post("/gradio_api/run/predict", json=body).raise_for_status()
