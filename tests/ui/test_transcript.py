"""What the model is told of the past, and what the user can take away."""

from __future__ import annotations

import json
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
from ixc.ui.transcript import AskedView, Conversation, Exchange, restored, transcript_page_value

VIEW = AskedView("image-1", plan_tiles(SizePx(1600, 3840), 25))
STATS = AnswerStats(1834.0, 3245, 3200, 12, 41.2, 3217)
ANSWERED = Exchange("Which?", VIEW, "West.", STATS, FinishReason.END_OF_TURN)
FAILED = Exchange("And?", VIEW, error=Message("OutOfMemory", "The device ran out of memory."))
CHOSEN = AnswerSettings(GenerationSettings(seed=3), "Be brief.")
MODEL = ModelStatus("ready", "ixc-nano", device="CPU")


def test_exchanges_without_an_answer_are_not_told_to_the_model():
    stopped_early = Exchange("Stopped before a word", VIEW, "", STATS, FinishReason.STOPPED)
    turns = Conversation((FAILED, ANSWERED, stopped_early)).turns({"image-1"})
    assert [(turn.question, turn.answer, turn.view) for turn in turns] == [("Which?", "West.", ImageView("image-1", 25))]


def test_an_image_that_is_gone_is_left_out_but_its_words_are_not():
    (turn,) = Conversation((ANSWERED,)).turns(set())
    assert (turn.question, turn.view) == ("Which?", None)


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
    assert [turn.view for turn in restored(kept).turns({"image-1"})] == [None]


@pytest.mark.parametrize(
    "kept",
    [None, [], "West.", {}, {"question": "Which?"}, {"question": " ", "answer": "", "model": ""}]
    + [{"question": "Which?", "answer": answer, "model": ""} for answer in (None, 5, ["West."], {"a": 1})],
)
def test_what_is_no_exchange_does_not_come_back(kept):
    assert restored([kept, ANSWERED.page_value()]).exchanges == (restored([ANSWERED.page_value()]).exchanges)


@pytest.mark.parametrize("error", [{}, {"code": "NoSuchError", "detail": "x"}, {"code": ["ImageError"]}])
def test_an_error_that_is_not_known_comes_back_as_one(error):
    (exchange,) = restored([{**FAILED.page_value(), "error": error}]).exchanges
    assert exchange.error == Message("Unexpected")
    export_markdown(Conversation((exchange,)), CHOSEN, MODEL, datetime.now(UTC), "zh")


def test_the_page_value_is_plain_data():
    value = transcript_page_value(Conversation((ANSWERED, FAILED)))
    assert json.loads(json.dumps(value)) == value
    first, second = value["exchanges"]
    assert first["view"] == {"image": "image-1", "kind": "dynamic_partition", "budget": 25, "cols": 7, "rows": 3, "viewPx": 0}
    assert (first["stats"]["cachedTokens"], first["reason"]) == (3200, "end_of_turn")
    assert second["error"] == {"code": "OutOfMemory", "detail": "The device ran out of memory."}


def test_json_export_holds_plan_settings_and_stats():
    data = export_json(Conversation((ANSWERED, FAILED)), CHOSEN, MODEL, datetime(2026, 3, 1, 12, tzinfo=UTC))
    json.dumps(data)
    assert data["settings"]["seed"] == 3
    assert data["settings"]["system"] == "Be brief."
    assert data["exchanges"][0]["plan"]["num_visual_tokens"] == 3217
    assert "tiles" not in data["exchanges"][0]["plan"]
    assert data["exchanges"][1]["error"] == "The device ran out of memory."


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
