"""What the server tells the page about a plan and about errors, and what it takes from the page."""

from __future__ import annotations

import json
import logging

import pytest

from ixc.application.engine_provider import EngineProvider
from ixc.application.messages import Message, message_for
from ixc.chat.interface import PromptPreview
from ixc.errors import BudgetOutOfRange, ImageTooLarge, IxcError
from ixc.settings import Settings
from ixc.tiling import SizePx, plan_tiles
from ixc.ui.api_errors import api_error
from ixc.ui.components import check_budget
from ixc.ui.plan_view import plan_page_value


def test_the_plan_of_the_papers_example():
    value = plan_page_value(plan_tiles(SizePx(1600, 3840), 25), "0123456789abcdef-and-more", 64, PromptPreview(), None)
    plan = value["plan"]
    assert (plan["cols"], plan["rows"], plan["used"], plan["tokens"]) == (7, 3, 21, 3217)
    assert (plan["original"], plan["resized"], plan["padded"]) == ([3840, 1600], [2352, 980], [2352, 1008])
    assert plan["padding"] == [0, 14, 0, 14]
    # Tile 11: padded x 1008 to 1344 and y 336 to 672 less 14, times 3840/2352; token 157 + 12 * 85 + 36 and 946 on.
    assert value["tiles"][10] == [1645, 525, 2195, 1075, 1213, 2159]
    assert value["imageId"] == "0123456789abcdef"
    assert value["cost"] is None


def test_a_tile_that_holds_a_part_of_a_pixel_is_not_empty():
    value = plan_page_value(plan_tiles(SizePx(2, 2), 25), "f" * 64, 64, PromptPreview(), None)
    assert [tile[:4] for tile in value["tiles"][:5]] == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 2, 1], [1, 0, 2, 1], [1, 0, 2, 1]]


# 300 x 200 is enlarged at once. 64 tiles hold at most 8 x 8 of 336 pixels: 2688 of 9000. Less than 1.005 times is no shrinking.
@pytest.mark.parametrize(("side", "is_shrunk"), [(300, False), (2688, False), (2701, False), (2702, True), (9000, True)])
def test_a_suggestion_says_whether_even_that_budget_shrinks_the_image(side, is_shrunk):
    plan = plan_page_value(plan_tiles(SizePx(side, side), 1), "f" * 64, 64, PromptPreview(), None)["plan"]
    assert plan["suggestedShrinks"] is is_shrunk


def test_the_page_s_words_have_the_tolerance_of_the_suggestion():
    """675 pixels on 672: both call that the image's own size, as the command line does."""
    plan = plan_page_value(plan_tiles(SizePx(675, 675), 4), "f" * 64, 64, PromptPreview(), None)["plan"]
    assert (plan["scaling"], plan["suggested"]) == ("kept", 4)


@pytest.mark.parametrize(("height", "width"), [(2160, 3840), (5133, 816), (1, 1), (20000, 1), (1, 20000)])
@pytest.mark.parametrize("budget", [1, 25, 64])
def test_a_plan_stays_light_on_the_wire(height, width, budget):
    value = plan_page_value(plan_tiles(SizePx(height, width), budget), "f" * 64, 64, PromptPreview(231, 20), None)
    assert len(json.dumps(value)) < 19_000


@pytest.mark.parametrize("value", [0, -1, 65, 2.5, float("nan"), float("inf"), None, "25", True, [1], {}])
def test_only_whole_numbers_in_range_are_budgets(value):
    with pytest.raises(BudgetOutOfRange, match="whole number from 1 to 64"):
        check_budget(value, 64)


def test_a_whole_float_is_a_budget():
    assert check_budget(25.0, 64) == 25


def test_expected_errors_keep_their_sentence():
    message = message_for(ImageTooLarge("The image has 99 megapixels; the limit is 60."))
    assert message == Message("ImageTooLarge", "The image has 99 megapixels; the limit is 60.")
    assert message.sentence("en") == "The image has 99 megapixels; the limit is 60."
    assert message.sentence("zh").startswith("图像超出限制")


def test_an_error_of_a_new_kind_is_shown_as_its_base():
    class NewerError(ImageTooLarge):
        pass

    assert message_for(NewerError("Too large.")).code == "ImageTooLarge"


def test_unexpected_errors_are_logged_and_never_shown(caplog):
    with caplog.at_level(logging.ERROR):
        message = message_for(ZeroDivisionError("secret detail"))
    assert message == Message("Unexpected")
    assert "secret detail" not in message.sentence("en")
    assert "secret detail" in caplog.text
    assert "secret" not in str(api_error(ZeroDivisionError("secret detail")))


def test_a_model_that_fails_to_load_leaves_a_sentence():
    def load(settings, on_progress):
        on_progress("reading", 0.5)
        raise IxcError("The folder is empty; download the model again.")

    provider = EngineProvider(Settings(), load)
    assert provider.status.phase == "loading"
    provider.start()
    assert provider.wait(30)
    assert provider.status.phase == "failed"
    assert provider.status.error == Message("IxcError", "The folder is empty; download the model again.")
    assert provider.engine is None
