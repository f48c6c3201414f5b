"""The server that runs the model is killed in mid-answer, and comes back."""

from __future__ import annotations

from ixc.benchmarks.app_process import AppProcess
from tests.openai_server import END, WordServer


def test_the_words_stay_and_retry_gives_the_whole_answer(visit, small_image):
    server = WordServer()
    with AppProcess({"IXC_BACKEND": server.url}) as front:
        assert front.wait_for_model() == "ready", front.log()
        user = visit(front.url)
        page = user.page
        page.wait_for_selector('#ixc-model-chip[data-phase="ready"]')
        assert page.locator("#ixc-model-chip").inner_text().endswith("· on another server")
        assert str(server.port) not in page.locator("body").inner_text()
        user.upload(small_image)
        assert "not known: the model runs elsewhere" in page.locator('[data-fact="cost"]').inner_text()
        user.ask("What does the sign say?")
        server.say("The sign says ")
        page.wait_for_function("() => document.querySelector('.ixc-live')?.innerText.includes('The sign says')")

        server.kill()
        failure = page.locator(".ixc-failed")
        failure.wait_for()
        assert user.answers()[-1].removeprefix("Answer:").strip() == "The sign says"
        assert "was lost in mid-answer; press Retry in a moment." in failure.inner_text()
        page.wait_for_selector('#ixc-model-chip[data-phase="away"]')
        assert front.health() == "away"
        user.screenshot("backend-lost")
        failure.get_by_role("button", name="Retry").click()  # too soon: still a sentence, and the question is kept
        page.wait_for_function("() => document.querySelector('.ixc-failed')?.innerText.includes('cannot be reached')")
        assert "What does the sign say?" in page.locator(".ixc-question").inner_text()

        server = WordServer(server.port)
        page.wait_for_selector('#ixc-model-chip[data-phase="ready"]')
        server.say("The sign ", "says ", "OPEN.", END)
        page.locator(".ixc-failed").get_by_role("button", name="Retry").click()
        page.wait_for_function("() => document.querySelector('.ixc-answered')?.innerText.includes('OPEN')")
        user.wait_for_answer(1)
        assert user.answers()[-1].removeprefix("Answer:").strip() == "The sign says OPEN."
        assert page.locator(".ixc-exchange").count() == 1
        assert page.locator(".ixc-failed").count() == 0
        user.screenshot("backend-back")
        page.context.close()  # before its app goes
    server.kill()
