"""What the model is told of the past, and what the user can take away."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ixc.application.engine_provider import ModelStatus
from ixc.application.messages import Message
from ixc.chat.events import AnswerStats, FinishReason
from ixc.conversation import ImageView
from ixc.errors import SettingsError
from ixc.settings import GenerationSettings
from ixc.tiling import SizePx, plan_tiles
from ixc.ui.export import export_file, export_json, export_markdown
from ixc.ui.settings_panel import AnswerSettings
from ixc.ui.transcript import AskedView, AskedWith, Conversation, Exchange, restored, transcript_page_value

VIEW = AskedView("image-1", plan_tiles(SizePx(1600, 3840), 25))
STATS = AnswerStats(1834.0, 3245, 3200, 12, 41.2, 3217)
ANSWERED = Exchange("Which?", VIEW, "West.", STATS, FinishReason.END_OF_TURN)
FAILED = Exchange("And?", VIEW, error=Message("OutOfMemory", "The device ran out of memory."))
USED = AskedWith(GenerationSettings(max_new_tokens=77, temperature=0.5, seed=2**62 + 1), "In `one` word.\nNo more.", 25)
CHOSEN = AnswerSettings(GenerationSettings(seed=3), "Be brief.")
MODEL = ModelStatus("ready", "ixc-nano", device="CPU")


def test_exchanges_without_an_answer_are_not_told_to_the_model():
    stopped_early = Exchange("Stopped before a word", VIEW, "", STATS, FinishReason.STOPPED)
    turns = Conversation((FAILED, ANSWERED, stopped_early)).turns({"image-1"})
    assert [(turn.question, turn.answer, turn.view) for turn in turns] == [("Which?", "West.", ImageView("image-1", 25))]


def test_conversations_are_values():
    conversation = Conversation()
    longer = conversation.plus(ANSWERED).plus(FAILED)
    assert conversation.exchanges == ()
    assert longer.upto(1).exchanges == (ANSWERED,)


def test_the_words_that_a_page_kept_come_back_without_its_images():
    kept = [exchange.page_value() for exchange in (ANSWERED, FAILED)]
    one, two = restored(kept).exchanges
    assert (one.question, one.answer, one.view, one.error) == ("Which?", "West.", None, None)
    assert (two.question, two.answer, two.error) == ("And?", "", FAILED.error)
    assert [each.image_key for each in restored(kept).exchanges] == ["image-1", "image-1"]


def test_an_image_that_a_page_kept_is_found_by_its_name():
    kept = restored([replace(ANSWERED, used=USED).page_value(), Exchange("Hi", answer="Hello.").page_value()])
    assert [turn.view for turn in kept.turns({"image-1"})] == [ImageView("image-1", 25), None]
    long = replace(ANSWERED, view=replace(VIEW, image_id="0123456789abcdef-and-more"), used=USED)
    (turn,) = restored([long.page_value()]).turns({"another", "0123456789abcdef-and-more"})
    assert turn.view.image_id == "0123456789abcdef-and-more"
    (turn,) = restored([long.page_value()]).turns({"another"})
    assert turn.view is not None  # it had one, which is not held
    assert restored([{**ANSWERED.page_value(), "image": 5, "leftOut": "x"}]).exchanges[0].page_value()["image"] == ""


@pytest.mark.parametrize(
    "kept",
    [None, [], "West.", {}, {"question": "Which?"}, {"question": " ", "answer": "", "model": ""}]
    + [{"question": "Which?", "answer": answer, "model": ""} for answer in (None, 5, ["West."], {"a": 1})],
)
def test_what_is_no_exchange_does_not_come_back(kept):
    assert restored([kept, ANSWERED.page_value()]).exchanges == (restored([ANSWERED.page_value()]).exchanges)


def test_the_settings_of_each_question_come_back_and_conversations_without_them_do_too():
    kept = json.loads(json.dumps([replace(ANSWERED, used=USED, lacks_image=True).page_value(), ANSWERED.page_value()]))
    one, two = restored(kept).exchanges
    assert (one.used, one.lacks_image) == (USED, True)
    assert kept[0]["used"]["seed"] == "4611686018427387905"  # a browser's number would end in 904
    assert (two.used, two.lacks_image) == (None, False)
    older = {name: value for name, value in kept[1].items() if name in ("question", "answer", "model", "error")}
    assert restored([older]).exchanges == (replace(two, kept_image=""),)
    export_json(restored([older]), CHOSEN, MODEL, datetime.now(UTC))


@pytest.mark.parametrize(
    "wrong",
    [
        *(5, [], {}, {"temperature": "hot"}, {"max_new_tokens": 10**9}, {"seed": "x"}, {"seed": 5}, {"seed": "9" * 30}),
        *({"system": None}, {"budget": "25"}, {"budget": True}, {"do_sample": "yes"}),
    ],
)
def test_settings_that_are_none_are_left_out(wrong):
    used = {**USED.page_value(), **wrong} if isinstance(wrong, dict) and wrong else wrong
    (exchange,) = restored([{**ANSWERED.page_value(), "used": used}]).exchanges
    assert (exchange.answer, exchange.used) == ("West.", None)


@pytest.mark.parametrize("error", [{}, {"code": "NoSuchError", "detail": "x"}, {"code": ["ImageError"]}])
def test_an_error_that_is_not_known_comes_back_as_one(error):
    (exchange,) = restored([{**FAILED.page_value(), "error": error}]).exchanges
    assert exchange.error == Message("Unexpected")
    export_markdown(Conversation((exchange,)), CHOSEN, MODEL, datetime.now(UTC), "zh")


def test_the_page_value_is_plain_data():
    value = transcript_page_value(Conversation((ANSWERED, FAILED)))
    assert json.loads(json.dumps(value)) == value
    first, second = value["exchanges"]
    drawn = {"kind": "dynamic_partition", "budget": 25, "cols": 7, "rows": 3, "viewPx": 0}
    assert first["view"] == {"image": "image-1", "width": 3840, "height": 1600, **drawn}
    assert (first["image"], first["leftOut"]) == ("image-1", 0)
    assert (first["stats"]["cachedTokens"], first["reason"]) == (3200, "end_of_turn")
    assert second["error"] == {"code": "OutOfMemory", "detail": "The device ran out of memory."}


def test_json_export_holds_plan_settings_and_stats():
    data = export_json(Conversation((ANSWERED, FAILED)), CHOSEN, MODEL, datetime(2026, 3, 1, 12, tzinfo=UTC))
    json.dumps(data)
    assert data["settings_now"]["seed"] == 3
    assert data["settings_now"]["system"] == "Be brief."
    assert [exchange["settings"] for exchange in data["exchanges"]] == [None, None]  # nothing is said that is not known
    assert data["exchanges"][0]["plan"]["num_visual_tokens"] == 3217
    assert "tiles" not in data["exchanges"][0]["plan"]
    assert data["exchanges"][1]["error"] == "The device ran out of memory."


def test_every_answer_is_exported_with_its_own_settings():
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    greedy = AskedWith(GenerationSettings(do_sample=False))
    told = (replace(ANSWERED, used=USED, model="ixc-nano"), Exchange("Hi?", answer="Hello.", model="big", used=greedy))
    one, two = export_json(Conversation(told), CHOSEN, MODEL, now)["exchanges"]
    assert (one["settings"]["max_new_tokens"], one["settings"]["seed"], one["budget"]) == (77, 2**62 + 1, 25)
    assert (one["settings"]["system"], one["model"]) == ("In `one` word.\nNo more.", "ixc-nano")
    assert (two["settings"]["do_sample"], two["settings"]["system"], two["budget"], two["model"]) == (False, "", None, "big")
    text = export_markdown(Conversation(told), CHOSEN, MODEL, now, "en")
    first, second, now_block = text.split("\n> ")[1], text.split("\n> ")[2].split("## ")[0], text.split("## ")[-1]
    assert "*ixc-nano*" in first
    assert "*asked with at most 77 tokens, temperature 0.5, top-p 0.8, repetition penalty 1.005, beams 1, seed " in first
    assert f"seed {2**62 + 1}*" in first
    again = export_markdown(restored([told[0].page_value()]), CHOSEN, MODEL, now, "en")
    assert f"seed {2**62 + 1}, HD-25*" in again  # whose plan did not come back
    assert '*System prompt: ``"In `one` word.\\nNo more."``*' in first
    assert "*big*" in second
    assert "temperature 0, top-p 0.8, repetition penalty 1.005, beams 1, seed random*" in second
    assert "System prompt" not in second
    assert now_block.startswith("Settings now\n")
    assert '"seed": 3' in now_block


def test_an_answer_without_an_earlier_image_says_so():
    gone = replace(ANSWERED, lacks_image=True)
    text = export_markdown(Conversation((gone,)), CHOSEN, MODEL, datetime.now(UTC), "en")
    assert "*An earlier image was no longer held; the model answered without it.*" in text
    assert export_json(Conversation((gone,)), CHOSEN, MODEL, datetime.now(UTC))["exchanges"][0]["lacks_earlier_image"]


def test_settings_that_cannot_be_used_now_do_not_hold_an_export_up():
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert export_json(Conversation((ANSWERED,)), None, MODEL, now)["settings_now"] is None
    text = export_markdown(Conversation((ANSWERED,)), None, MODEL, now, "en")
    assert "West." in text
    assert "Settings now" not in text


def test_an_export_says_once_what_the_model_was_not_told_of():
    left_out = replace(ANSWERED, num_left_out=2, model="ixc-nano")
    text = export_markdown(Conversation((ANSWERED, left_out, left_out)), CHOSEN, MODEL, datetime.now(UTC), "en")
    assert text.count("*ixc-nano looks at one image at a time: ") == 1
    data = export_json(Conversation((ANSWERED, left_out)), CHOSEN, MODEL, datetime.now(UTC))
    assert [each["earlier_questions_left_out"] for each in data["exchanges"]] == [0, 2]


def test_markdown_export_reads_well_in_both_languages():
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    english = export_markdown(Conversation((ANSWERED, FAILED)), CHOSEN, MODEL, now, "en")
    assert "> Which?\n\nWest.\n\n*3840 × 1600 px, HD-25, 7 × 3, 3217 visual tokens*" in english
    assert "*first token 1.83 s, 41 tokens/s, 3245 prompt tokens, 3200 from cache*" in english
    assert "*The device ran out of memory.*" in english
    assert "3217 个视觉词元" in export_markdown(Conversation((ANSWERED,)), CHOSEN, MODEL, now, "zh")


def test_a_fence_in_the_system_prompt_does_not_end_the_fence():
    text = export_markdown(
        Conversation(), AnswerSettings(GenerationSettings(), "```\n# not a heading"), MODEL, datetime.now(UTC), "en"
    )
    assert "````json" in text


def test_the_file_has_a_name_and_a_type():
    file = export_file(Conversation((ANSWERED,)), CHOSEN, MODEL, "markdown", "en")
    assert file["name"].startswith("4khd-")
    assert file["name"].endswith(".md")
    assert file["mime"] == "text/markdown"
    assert export_file(Conversation(), CHOSEN, MODEL, "json", "en")["mime"] == "application/json"


def test_controls_become_settings():
    chosen = AnswerSettings.from_values(100, 0, 0.8, 1.0, 1, None, None)
    assert chosen.generation.is_greedy
    assert chosen.system == ""
    beams = AnswerSettings.from_values(100, 1.0, 0.8, 1.0, 3, " 5 ", "s").generation
    assert (beams.num_beams, beams.do_sample, beams.seed) == (3, False, 5)
    with pytest.raises(SettingsError):
        AnswerSettings.from_values(100, 9, 0.8, 1.0, 1, None, "")


@pytest.mark.parametrize("seed", ["x", "-1", "1.5", "1e3", "٣", str(2**63)])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(SettingsError, match="seed must be a whole number"):
        AnswerSettings.from_values(100, 1, 0.8, 1.0, 1, seed, "")


@pytest.mark.parametrize(
    ("answer", "closed"),
    [
        ("So:\n```py\nx = 1", "So:\n```py\nx = 1\n```"),
        ("~~~~\n```\na", "~~~~\n```\na\n~~~~"),
        ("```\nwhole\n```", "```\nwhole\n```"),
        ("````\n```\nstill", "````\n```\nstill\n````"),
        ("- one\n  ```\n  a", "- one\n  ```\n  a\n  ```"),
        ("`one`, ``` in a line", "`one`, ``` in a line"),
        ("```print(1)```\nDone.", "```print(1)```\nDone."),
    ],
)
def test_a_block_of_code_that_was_cut_ends_with_its_answer(answer, closed):
    told = Conversation((replace(ANSWERED, answer=answer), Exchange("Next?", answer="Yes.")))
    assert f"\n{closed}\n\n" in export_markdown(told, CHOSEN, MODEL, datetime.now(UTC), "en")


def test_what_a_backend_does_not_tell_is_not_said():
    silent = replace(ANSWERED, stats=AnswerStats(120.0, 0, 0, 5, None, 0))
    text = export_markdown(Conversation((silent,)), CHOSEN, MODEL, datetime.now(UTC), "en")
    assert "0.12" in text
    assert "prompt tokens" not in text
