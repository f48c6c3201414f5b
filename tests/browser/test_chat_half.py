"""The right half: a question streams its answer, and every way to stop, change, keep or lose it works."""

from __future__ import annotations

import json
import re

from PIL import Image

TEXT_LENGTH = "document.querySelector('.ixc-live')?.innerText.length ?? 0"


def cached_tokens(stats: str) -> int:
    found = re.search(r"([\d,]+) from cache", stats)
    return int(found.group(1).replace(",", "")) if found else 0


def test_an_answer_streams_and_escape_stops_it(visit, small_image):
    user = visit()
    user.upload(small_image)
    user.set_budget(9)
    user.limit_answer(4096)  # long enough not to end by itself, on a busy machine too
    user.ask("What is this?")
    user.page.wait_for_function(f"() => {TEXT_LENGTH} > 5")
    first = user.page.evaluate(TEXT_LENGTH)
    user.page.wait_for_function(f"n => {TEXT_LENGTH} > n", arg=first)  # it grows while it is being written
    assert user.page.locator("#ixc-stop").is_visible()
    assert not user.page.locator("#ixc-send").is_visible()
    assert user.page.locator("#ixc-question textarea").input_value() == ""
    user.page.keyboard.press("Escape")
    user.wait_for_answer(1)
    assert user.stats()[0].startswith("stopped · first token")
    assert "tokens/s" in user.stats()[0]
    assert "prompt tokens · HD-9" in user.stats()[0]
    assert len(user.answers()[0]) > first  # what was written is kept
    assert user.page.locator("#ixc-send").is_visible()
    user.screenshot("desktop-answered")


def test_stop_works_before_the_first_token(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    user.set_budget(64)
    user.page.click("#ixc-settings-button")
    beams = user.page.locator("#ixc-beams input[type=number]")
    beams.fill("2")  # nothing is said before the whole search is over: a Stop that comes late is early enough
    beams.blur()
    user.page.click("#ixc-settings-button")
    user.ask("What is this?")
    user.page.wait_for_function(  # clicked in the page itself: the little model sees and reads 64 tiles in a second
        """() => {
            const isWorking = /views|tokens/.test(document.querySelector('#ixc-stage-text')?.innerText ?? '');
            if (isWorking) document.querySelector('#ixc-stop').click();
            return isWorking;
        }"""
    )
    user.wait_for_answer(1)
    assert user.stats()[0].startswith("stopped before the first token")


def test_the_second_turn_comes_from_the_cache(visit, small_image):
    user = visit()
    user.upload(small_image)
    user.set_budget(4)
    user.limit_answer(6)
    user.ask("What is this?")
    user.wait_for_answer(1)
    user.ask("And what else?")
    user.wait_for_answer(2)
    first, second = user.stats()
    assert cached_tokens(first) == 0
    # 300x200 at 4 tiles is 2 x 2: 144 * 5 + 12 * 3 + 1 = 757 visual tokens, all of them in the cache.
    assert cached_tokens(second) > 757
    assert "cut at the answer length" in first


def test_a_question_sent_at_the_very_moment_an_answer_ends_is_answered(visit):
    """The page itself sends the next question within the change that shows the answer before as finished, nine times."""
    user = visit()
    user.limit_answer(3)
    user.page.evaluate(
        """() => {
            const send = (text) => {
                const box = document.querySelector('#ixc-question textarea');
                box.value = text;
                box.dispatchEvent(new Event('input', { bubbles: true }));
                requestAnimationFrame(() => document.querySelector('#ixc-send').click());
            };
            let number = 1;
            let wasBusy = false;
            new MutationObserver(() => {
                const busy = document.body.dataset.busy === 'true';
                if (wasBusy && !busy && number < 10) send(`Question ${++number}?`);
                wasBusy = busy;
            }).observe(document.body, { attributes: true, attributeFilter: ['data-busy'] });
            send('Question 1?');
        }"""
    )
    user.wait_for_answer(10)
    asked = [text.split()[-2:] for text in user.page.locator(".ixc-exchange .ixc-question").all_inner_texts()]
    assert asked == [["Question", f"{number}?"] for number in range(1, 11)]


def test_a_question_sent_twice_counts_once(visit):
    user = visit()
    user.limit_answer(3)
    user.page.fill("#ixc-question textarea", "What is this?")
    user.page.evaluate("() => { const send = document.querySelector('#ixc-send'); send.click(); send.click(); }")
    user.wait_for_answer(1)
    assert len([url for url in user.requests if "/queue/join" in url]) == 1  # a second might come after a short answer's end
    user.ask("And then?")
    user.wait_for_answer(2)
    assert len(user.answers()) == 2
    assert user.page.locator(".ixc-failed").count() == 0


def test_enter_sends_nothing_while_an_answer_is_written_and_keeps_what_was_typed(visit, wide_image):
    user = visit()
    user.limit_answer(4096)
    user.upload(wide_image)
    user.set_budget(64)
    user.ask("What is this?")
    user.page.wait_for_function("() => document.body.dataset.busy === 'true'")
    user.ask("And this?")
    user.page.click("#ixc-stop")
    user.wait_for_answer(1)
    assert user.page.input_value("#ixc-question textarea") == "And this?"
    assert len(user.answers()) == 1


def test_changing_the_budget_is_said_and_used(visit, small_image):
    user = visit()
    user.upload(small_image)
    user.limit_answer(4)
    user.set_budget(4)
    user.ask("What is this?")
    user.wait_for_answer(1)
    assert not user.page.locator("#ixc-pending-note").is_visible()
    user.set_budget(9)  # three across, ceil(3 / 1.5) = 2 down
    note = "Budget changed to 9: the next question uses 3 × 2 tiles"
    assert user.page.locator("#ixc-pending-note").inner_text() == note
    user.ask("And now?")
    user.wait_for_answer(2)
    assert not user.page.locator("#ixc-pending-note").is_visible()
    assert user.page.locator(".ixc-exchange .ixc-note").inner_text() == note
    assert "HD-4" in user.stats()[0]
    assert "HD-9" in user.stats()[1]
    user.page.click("#ixc-remove")
    user.page.locator("#ixc-pending-note", has_text="Image removed: the next question has none").wait_for()
    user.screenshot("desktop-budget-changed")


def test_text_chat_works_without_an_image(visit):
    user = visit()
    user.limit_answer(5)
    user.ask("Say something.")
    user.wait_for_answer(1)
    assert user.answers()[0].removeprefix("Answer:").strip()
    assert "HD-" not in user.stats()[0]


def test_an_empty_question_is_refused_and_nothing_is_lost(visit):
    user = visit()
    user.page.click("#ixc-send")
    notice = user.page.locator("#ixc-chat-notice")
    notice.wait_for(state="visible")
    assert notice.inner_text().strip() == "Type a question first."
    user.limit_answer(4)
    user.ask("A real question")
    user.wait_for_answer(1)
    assert not notice.is_visible()
    user.ask("   \n ")
    notice.wait_for(state="visible")
    assert len(user.answers()) == 1


def test_shift_enter_breaks_the_line(visit):
    user = visit()
    user.limit_answer(3)
    user.page.fill("#ixc-question textarea", "first")
    user.page.keyboard.press("End")
    user.page.keyboard.press("Shift+Enter")
    user.page.keyboard.type("second")
    assert user.page.locator("#ixc-question textarea").input_value() == "first\nsecond"
    user.page.keyboard.press("Enter")
    user.wait_for_answer(1)
    assert "first\nsecond" in user.page.locator(".ixc-question").inner_text()


def test_retry_undo_edit_copy_and_clear(visit):
    user = visit(permissions=["clipboard-read", "clipboard-write"])
    user.limit_answer(4)
    for number, question in enumerate(("one", "two", "three"), start=1):
        user.ask(question)
        user.wait_for_answer(number)

    def questions() -> list[str]:
        return [text.removeprefix("You asked:").strip() for text in user.page.locator(".ixc-question").all_inner_texts()]

    user.page.click('[data-action="undo"]')
    user.page.wait_for_function("() => document.querySelectorAll('.ixc-exchange').length === 2")
    assert questions() == ["one", "two"]
    assert user.page.locator("#ixc-question textarea").input_value() == "three"
    user.page.locator('[data-action="edit"]').first.click()
    editor = user.page.locator(".ixc-edit")
    assert editor.input_value() == "one"
    editor.fill("one, changed")
    editor.press("Enter")
    user.page.wait_for_function(
        "() => document.querySelectorAll('.ixc-exchange').length === 1 && document.body.dataset.busy === 'false'"
    )
    assert questions() == ["one, changed"]  # what followed the edited question is gone
    user.page.evaluate("window.kept = document.querySelector('.ixc-exchange')")
    user.page.click('[data-action="retry"]')
    user.page.wait_for_function("() => !window.kept.isConnected && document.body.dataset.busy === 'false'")
    assert questions() == ["one, changed"]
    user.page.evaluate(  # it stands there for a moment only
        """() => new MutationObserver(() => { window.saidCopied ||= Boolean(document.querySelector('[aria-label="Copied"]')); })
            .observe(document.body, { subtree: true, attributes: true, attributeFilter: ["aria-label"] })"""
    )
    user.page.locator('.ixc-answered [data-action="copy"]').click()
    user.page.wait_for_function("() => window.saidCopied")
    copied = user.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip()
    answer = user.answers()[0].removeprefix("Answer:")
    assert [sign for sign in copied if sign.isalpha()] == [sign for sign in answer if sign.isalpha()]  # noise may be Markdown
    user.page.click("#ixc-new")
    user.page.wait_for_function("() => document.querySelectorAll('.ixc-exchange').length === 0")
    assert user.page.locator(".ixc-empty").is_visible()


def test_settings_start_with_the_models_own(visit):
    user = visit()
    user.page.click("#ixc-settings-button")
    user.page.wait_for_function(
        "() => document.querySelector('#ixc-system textarea').value.startsWith('You are an AI assistant')"
    )
    assert user.page.locator("#ixc-seed :is(input, textarea)").input_value() == ""  # every answer another one
    assert user.page.locator("#ixc-length input[type=number]").input_value() == "1024"


def test_export_holds_the_conversation_the_plan_and_the_settings(visit, wide_image):
    user = visit()
    user.upload(wide_image)
    user.set_budget(9)
    user.limit_answer(7)
    user.ask("What does berth 07 list?")
    user.wait_for_answer(1)
    user.limit_answer(11)  # which the answer was not asked with
    user.page.click("#ixc-export")
    with user.page.expect_download() as download:
        user.page.click('[data-format="json"]')
    data = json.loads(download.value.path().read_text(encoding="utf-8"))
    exchange = data["exchanges"][0]
    assert exchange["question"] == "What does berth 07 list?"
    assert exchange["plan"]["grid"] == {"rows": 2, "cols": 4}  # the reference's table, HD-9
    assert (exchange["settings"]["max_new_tokens"], exchange["budget"]) == (7, 9)
    assert data["settings_now"]["max_new_tokens"] == 11
    assert exchange["stats"]["newTokens"] <= 7
    user.page.click("#ixc-export")
    with user.page.expect_download() as download:
        user.page.click('[data-format="markdown"]')
    text = download.value.path().read_text(encoding="utf-8")
    assert download.value.suggested_filename.endswith(".md")
    assert "> What does berth 07 list?" in text
    assert exchange["answer"] in text
    assert "HD-9, 4 × 2" in text


def test_a_wrong_setting_is_said_and_the_conversation_stays(visit):
    user = visit()
    user.limit_answer(2)
    user.ask("one")
    user.wait_for_answer(1)
    user.page.click("#ixc-settings-button")
    user.page.fill("#ixc-seed :is(input, textarea)", "lucky")
    user.ask("two")
    notice = user.page.locator("#ixc-chat-notice")
    notice.wait_for(state="visible")
    assert "The seed must be a whole number" in notice.inner_text()
    assert user.page.locator("#ixc-question textarea").input_value() == "two"
    assert len(user.answers()) == 1
    user.page.fill("#ixc-seed :is(input, textarea)", "7")
    user.page.click("#ixc-send")
    user.wait_for_answer(2)
    assert not notice.is_visible()


def test_two_users_at_once_see_nothing_of_each_other(visit, small_image, wide_image):
    anna, ben = visit(), visit()
    anna.upload(small_image)
    ben.upload(wide_image)
    anna.set_budget(2)
    anna.limit_answer(12)
    ben.limit_answer(6)
    ben.set_budget(4)
    anna.ask("Anna asks")
    ben.ask("Ben asks")
    anna.wait_for_answer(1)
    ben.wait_for_answer(1)
    assert "Anna asks" in anna.page.content()
    assert "Anna asks" not in ben.page.content()
    assert "Ben asks" not in anna.page.content()
    assert (anna.fact("size"), ben.fact("size")) == ("300 × 200", "3840 × 1600")
    assert anna.page.get_attribute("#ixc-picture", "src") != ben.page.get_attribute("#ixc-picture", "src")
    ben.ask("More?")
    ben.wait_for_answer(2)
    assert len(anna.answers()) == 1


def test_a_closed_tab_leaves_nothing(visit, app, wide_image):
    def held() -> dict:
        status = app.status()
        return {"sessions": status["sessions"]["sessions"], "in_line": status["in_line"], "engine": status["engine"]["bytes"]}

    keeper = visit()  # a tab that only looks on, so that the app is not idle
    keeper.page.wait_for_function(  # those of the tests before are gone
        """async () => {
            const s = await (await fetch('/status')).json();
            return s.sessions.sessions === 0 && s.in_line === 0;
        }""",
        polling=200,
    )
    before = held()
    user = visit()
    user.upload(wide_image)
    user.ask("What is this?")
    user.page.wait_for_selector("#ixc-live")
    assert held()["sessions"] == before["sessions"] + 1
    user.page.context.close()
    keeper.page.wait_for_function(
        """async (before) => {
            const s = await (await fetch('/status')).json();
            return s.sessions.sessions === before.sessions && s.in_line === before.in_line && s.engine.bytes <= before.engine;
        }""",
        arg=before,
        polling=200,
    )
    user.errors.clear()  # the stream broke off with the tab, as it should


def test_an_answer_says_that_an_earlier_image_was_no_longer_held(visit, tmp_path):
    user = visit()
    user.limit_answer(3)
    user.set_slider(1)
    for number in range(8):  # six are held
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 30), (number, 0, 0)).save(path)
        before = user.page.evaluate("ixc.last('plan')?.imageId")
        user.page.set_input_files("#ixc-file", path)
        user.page.wait_for_function("before => (ixc.last('plan')?.imageId ?? before) !== before", arg=before)
        user.page.wait_for_function("() => ixc.last('image').id === ixc.last('plan').imageId")
        if number in (0, 7):
            user.ask("What is it?")
            user.wait_for_answer(1 if number == 0 else 2)
    notes = [exchange.locator(".ixc-lacks").all_inner_texts() for exchange in user.page.locator(".ixc-exchange").all()]
    assert notes == [[], ["An earlier image was no longer held; the model answered without it."]]
    user.page.reload()
    user.page.wait_for_selector(".ixc-exchange .ixc-lacks")
    user.forget_what_broke_off()
