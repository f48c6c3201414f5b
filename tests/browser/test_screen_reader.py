"""What a screen reader says by itself while questions are answered: each answer once, whole."""

from __future__ import annotations

SAID = """(() => {
  window.said = [];
  const note = (records) => {
    for (const { target } of records) {
      const node = target.closest ? target : target.parentElement;
      const region = node?.closest('[role=status], [role=alert], [role=log], [aria-live]');
      const isLive = region && region.getAttribute('aria-live') !== 'off';
      if (isLive && document.querySelector('#ixc-chat-pane')?.contains(region)) window.said.push(region.textContent);
    }
  };
  new MutationObserver(note).observe(document, { childList: true, subtree: true, characterData: true });
})();"""
"""Notes what a screen reader says by itself on the chat's half: the text of a live region each time it changes."""


def test_a_screen_reader_hears_an_answer_once_when_it_is_there(visit):
    user = visit(init_script=SAID)
    user.limit_answer(4096)  # it goes on until it is stopped
    user.ask("one")
    user.page.wait_for_function("() => window.said.includes('answering…')")
    user.page.keyboard.press("Escape")
    user.wait_for_answer(1)
    user.limit_answer(3)
    user.ask("two")
    user.wait_for_answer(2)
    first, second = ("".join(text.removeprefix("Answer:").split()) for text in user.answers())
    assert first != second
    said = ["".join(text.split()) for text in user.page.evaluate("window.said")]
    assert said.count(first) == 1
    assert said.count(second) == 1
    assert [text for text in said if first in text or second in text] == [first, second]
    assert said.count("answering…") in (1, 2)  # a short answer may be there at once, whole
    assert len(said) < 20  # what is counted is not said at each step
    user.page.click("#ixc-new")
    user.page.wait_for_function("() => !document.querySelector('#ixc-said').textContent")


def test_a_screen_reader_hears_once_why_there_is_no_answer(visit, broken_app):
    user = visit(broken_app.url, init_script=SAID)
    user.ask("one")
    user.page.wait_for_selector(".ixc-failed")
    sentence = user.page.locator(".ixc-failed p").inner_text()
    assert [text for text in user.page.evaluate("window.said") if sentence in text] == [sentence]
