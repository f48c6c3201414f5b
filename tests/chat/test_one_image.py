"""Models whose training showed one image in each conversation: they are told of one at a time, and no other model is."""

from __future__ import annotations

import pytest

from ixc.chat.loading import load_engine
from ixc.chat.request import ChatRequest, StopFlag
from ixc.conversation import ImageView
from ixc.errors import TooManyImages
from ixc.imaging.decode import decode_image
from ixc.models.presets import ASSETS, INF_NANO, NANO, PRESETS, find_model, sees_one_image
from ixc.settings import ImageLimits, Settings
from ixc.tiling import plan_tiles
from tests.chat.conftest import GREEDY, Chat
from tests.checkpoints import write_chat_checkpoint


@pytest.fixture(scope="module")
def one_image_engine(tmp_path_factory):
    folder = write_chat_checkpoint(tmp_path_factory.mktemp("one-image"), sees_one_image=True)
    engine = load_engine(Settings(model=str(folder), prefill_chunk_tokens=64))
    yield engine
    engine.close()


@pytest.fixture
def chat(one_image_engine, images):
    chat = Chat(one_image_engine, images, session_id="one")
    yield chat
    one_image_engine.forget("one")
    one_image_engine.forget("fresh")


def alone(chat, question, image=None, turns=()):
    """The same question in a conversation that holds nothing but ``turns``."""
    chat.engine.forget("fresh")
    return Chat(chat.engine, chat.images, session_id="fresh", turns=list(turns)).ask(question, image)


def test_each_image_is_answered_as_if_no_other_had_been_shown(chat, landscape, portrait):
    chat.ask("What is this?", landscape)
    chat.ask("Is it old?", landscape)
    about_the_other = chat.ask("And this?", portrait)
    assert about_the_other.text == alone(chat, "And this?", portrait).text
    num_portrait = plan_tiles(chat.images[portrait].size_px, 4).num_visual_tokens
    assert about_the_other.stats.num_visual_tokens == num_portrait
    back = chat.ask("And now?", landscape)
    assert back.text == alone(chat, "And now?", landscape, chat.turns[:2]).text


def test_without_the_image_a_question_is_text_only(chat, landscape):
    chat.ask("What is this?", landscape)
    text_only = chat.ask("Who are you?")
    assert text_only.stats.num_visual_tokens == 0
    assert text_only.text == alone(chat, "Who are you?").text
    on = chat.ask("Why?")
    assert on.text == alone(chat, "Why?", turns=chat.turns[1:2]).text


def test_a_missing_image_of_a_turn_that_is_left_out_is_not_missed(chat, landscape, portrait):
    chat.ask("What is this?", landscape)
    chat.images = {portrait: chat.images[portrait]}
    assert chat.ask("And this?", portrait).text == alone(chat, "And this?", portrait).text


def test_two_images_with_one_question_are_refused_in_a_sentence(chat, landscape, portrait):
    two = ImageView(landscape, 4), ImageView(portrait, 4)
    request = ChatRequest("one", "Which?", two[0], (), chat.images, "", GREEDY, more_views=two[1:])
    with pytest.raises(TooManyImages, match="looks at one image at a time; send one image with each question"):
        list(chat.engine.answer(request, StopFlag()))
    twice = ChatRequest("one", "What?", two[0], (), chat.images, "", GREEDY, more_views=two[:1])
    assert chat.engine.told(twice).more_views == ()


def test_any_other_model_is_told_of_all(engine, new_chat, landscape, portrait):
    chat = new_chat()
    chat.ask("What is this?", landscape)
    both = chat.ask("And this?", portrait)
    plans = [plan_tiles(chat.images[image].size_px, 4) for image in (landscape, portrait)]
    assert both.stats.num_visual_tokens == sum(plan.num_visual_tokens for plan in plans)
    text_only = chat.ask("Who are you?", keep=False)
    assert text_only.stats.num_visual_tokens == both.stats.num_visual_tokens


def test_which_models_they_are_is_told_by_their_folders(checkpoint):
    assert {name for name, preset in PRESETS.items() if sees_one_image(preset)} == {NANO.name, INF_NANO.name}
    assert not sees_one_image(find_model(str(checkpoint)))


def test_the_shipped_model_answers_about_the_image_that_is_shown():
    """With the sign in its prompt too it said what the sign says."""
    engine = load_engine(Settings(model=NANO.name))
    names = ("sign", "label")
    pictures = {name: decode_image(ASSETS / "examples" / f"{name}.png", ImageLimits()) for name in names}
    sign, label = (pictures[name].image_id for name in names)
    chat = Chat(engine, {image.image_id: image for image in pictures.values()})
    assert chat.ask("What does the sign say?", sign, max_patches=1).text == "PLATFORM 7"
    second = chat.ask("What does the label say?", label, max_patches=9)
    fresh = Chat(engine, chat.images, session_id="fresh").ask("What does the label say?", label, max_patches=9)
    engine.close()
    assert second.text == fresh.text != "PLATFORM 7"
    assert second.stats.num_prompt_tokens == fresh.stats.num_prompt_tokens
