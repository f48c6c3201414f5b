"""The page is loaded again, by its user or by Gradio's script after a broken connection: nothing said or typed is lost."""

from __future__ import annotations

BREAKABLE = """
(() => {
  const request = window.fetch;
  window.fetch = async (input, init) => {
    const response = await request(input, init);
    if (!new URL(input.url ?? input, location.href).pathname.endsWith("/queue/data")) return response;
    const body = response.body.pipeThrough(new TransformStream({
      transform(bytes, out) { if (window.isBroken) out.error(new TypeError("network error")); else out.enqueue(bytes); },
    }));
    return new Response(body, { status: response.status, headers: response.headers });
  };
})();
"""
"""Below the page's own scripts: the stream of answers can be broken."""


def questions(user) -> list[str]:
    return [
        text.removeprefix("You asked:").strip() for text in user.page.locator(".ixc-exchange .ixc-question").all_inner_texts()
    ]


KEPT = "sessionStorage.getItem('ixc-kept')"


def test_an_answer_that_a_broken_connection_cut_can_be_asked_again(visit, small_image):
    user = visit(init_script=BREAKABLE)
    user.upload(small_image)
    user.set_budget(4)
    user.limit_answer(4)
    user.ask("one")
    user.wait_for_answer(1)
    first = user.answers()[0]
    user.limit_answer(4096)
    user.ask("two")
    user.page.wait_for_function("() => document.querySelector('.ixc-live')?.innerText.length > 5")
    user.page.fill("#ixc-question textarea", "a draft")
    user.page.evaluate("window.isBroken = true")  # Gradio's script reloads the page once it sees the server again
    user.page.wait_for_function("() => !window.isBroken && document.querySelectorAll('.ixc-exchange').length === 2")
    assert questions(user) == ["one", "two"]
    assert user.answers()[0] == first
    assert len(user.answers()[1].removeprefix("Answer:").strip()) > 3
    assert user.page.locator(".ixc-failed p").inner_text() == "The connection broke in mid-answer. Press Retry to ask again."
    assert "Upload it again to go on asking about it." in user.page.locator("#ixc-chat-notice").inner_text()
    assert user.page.input_value("#ixc-question textarea") == "a draft"
    assert user.page.evaluate(KEPT) is None  # it is the server's again
    user.screenshot("connection-lost")
    user.limit_answer(3)
    user.page.click("#ixc-chat-notice button")
    user.page.click('.ixc-failed [data-action="retry"]')  # without its image it is not asked
    user.page.locator("#ixc-chat-notice", has_text="upload it again").wait_for()
    assert questions(user) == ["one", "two"]
    user.upload(small_image)
    user.page.locator("#ixc-chat-notice").wait_for(state="hidden")
    user.page.click('.ixc-failed [data-action="retry"]')
    user.page.wait_for_function("() => !document.querySelector('.ixc-failed') && document.body.dataset.busy === 'false'")
    assert questions(user) == ["one", "two"]
    assert " · HD-4" in user.page.locator(".ixc-exchange").nth(1).locator(".ixc-stats").inner_text()
    user.errors.clear()  # the browser's own lines about the broken connection


def test_what_was_set_comes_back(visit):
    user = visit()
    user.page.click("#ixc-settings-button")
    user.page.wait_for_function("() => document.querySelector('#ixc-length input[type=number]').value === '1024'")
    user.page.fill("#ixc-system textarea", "Answer in one word.")
    user.page.fill("#ixc-seed :is(input, textarea)", "7")
    for name, number in (("length", "77"), ("temperature", "0.5"), ("beams", "3")):
        box = user.page.locator(f"#ixc-{name} input[type=number]")
        box.fill(number)
        box.blur()
    user.set_slider(16)
    user.page.reload()
    user.page.click("#ixc-settings-button")
    user.page.wait_for_function("() => document.querySelector('#ixc-system textarea').value === 'Answer in one word.'")
    assert user.page.input_value("#ixc-seed :is(input, textarea)") == "7"
    for name, number in (("length", "77"), ("temperature", "0.5"), ("beams", "3")):
        assert user.page.input_value(f"#ixc-{name} input[type=number]") == number
    assert user.page.locator(".ixc-budget-value").inner_text() == "16"
    user.forget_what_broke_off()


def test_who_comes_back_to_the_tab_while_the_app_is_away_keeps_the_page(visit, small_image):
    user = visit()
    user.upload(small_image)
    user.page.route("**/app_id*", lambda route: route.abort("connectionrefused"), times=1)
    asked = []
    user.page.on("request", lambda request: asked.append(request) if "/run/predict" in request.url else None)
    with user.page.expect_event("requestfailed"):
        user.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    user.set_budget(4)
    assert len(asked) == 1  # the slider's; of one that cannot reach the app Gradio's script would load the page again
    assert user.fact("size") == "300 × 200"
    user.errors.clear()  # the browser's own line about the failure


def test_what_was_cleared_does_not_come_back(visit):
    user = visit()
    user.limit_answer(3)
    user.ask("one")
    user.wait_for_answer(1)
    user.page.reload()
    user.page.wait_for_selector(".ixc-exchange")
    assert questions(user) == ["one"]
    assert not user.page.locator("#ixc-chat-notice").is_visible()  # there was no image
    user.page.click("#ixc-new")
    user.page.wait_for_function("() => document.querySelectorAll('.ixc-exchange').length === 0")
    user.page.reload()
    user.page.wait_for_selector(".ixc-example")
    assert questions(user) == []
    assert user.page.evaluate(KEPT) is None
    user.forget_what_broke_off()


def test_back_and_forward_come_back_to_the_conversation(visit):
    user = visit()
    user.limit_answer(3)
    user.ask("one")
    user.wait_for_answer(1)
    user.page.goto("about:blank")
    user.page.go_back()
    user.page.wait_for_selector(".ixc-exchange")
    assert questions(user) == ["one"]
    user.limit_answer(3)
    user.ask("two")
    user.wait_for_answer(2)
    user.forget_what_broke_off()


DISCARDED = """
const isDiscarded = () => location.protocol !== "about:" && sessionStorage.getItem("test-discarded");
if (isDiscarded()) Object.defineProperty(document, "wasDiscarded", { value: true });
window.hide = () => {
  Object.defineProperty(document, "hidden", { value: true, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
};
window.addEventListener("pagehide", (event) => { if (isDiscarded()) event.stopImmediatePropagation(); }, true);
"""
"""A browser that discards a hidden tab tells its page nothing; the page that is then loaded in its place can see it."""


def test_a_tab_that_the_browser_discarded_comes_back(visit, app):
    user = visit(init_script=DISCARDED)
    user.limit_answer(3)
    user.ask("one")
    user.wait_for_answer(1)
    user.page.fill("#ixc-question textarea", "a draft")
    user.page.evaluate("sessionStorage.setItem('test-discarded', '1'); window.hide()")
    user.page.goto("about:blank")
    user.page.goto(app.url)
    user.page.wait_for_selector(".ixc-exchange")
    assert questions(user) == ["one"]
    assert user.page.input_value("#ixc-question textarea") == "a draft"
    user.forget_what_broke_off()


def test_nobody_else_sees_what_a_tab_kept(visit, app):
    user = visit()
    user.limit_answer(3)
    user.ask("one")
    user.wait_for_answer(1)
    user.page.goto("about:blank")
    user.page.goto(app.url)  # opened anew: perhaps by somebody else
    user.page.wait_for_selector(".ixc-example")
    assert questions(user) == []
    assert user.page.evaluate(KEPT) is None
    user.limit_answer(3)
    user.ask("two")
    user.wait_for_answer(1)
    user.page.evaluate(
        "for (const name of ['pagehide', 'visibilitychange']) window.addEventListener(name, () => { "
        "const kept = JSON.parse(sessionStorage.getItem('ixc-kept')); "
        "if (kept) sessionStorage.setItem('test-kept', '1'); "
        "sessionStorage.setItem('ixc-kept', JSON.stringify({ ...kept, user: 'anna' })); })"
    )
    user.page.reload()  # and now nobody is logged in
    user.page.wait_for_selector(".ixc-example")
    assert questions(user) == []
    assert user.page.evaluate("sessionStorage.getItem('test-kept')") == "1"  # there was something, under that name
    assert user.page.evaluate(KEPT) is None
    user.forget_what_broke_off()
