"""Whatever a user typed is answered or still stands in its field, however the network mixes up what it carries."""

from __future__ import annotations

from tests.browser.conftest import Visitor

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
    held = []
    user.page.route("**/queue/join*", lambda route: held.append(route), times=1)
    with user.page.expect_request("**/queue/join*"):
        user.ask("one")
    user.page.fill("#ixc-question textarea", "a draft")  # while the question is on its way
    held[0].continue_()
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
