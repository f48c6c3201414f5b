"""Every sentence is there in both languages, fits its place, and is used."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from ixc import errors
from ixc.application.messages import message_for
from ixc.application.strings import LANGUAGES, load_strings, translate
from ixc.chat.remote import REMOTE_NOTE
from ixc.models.presets import PRESETS, UNKNOWN_NOTE

ROOT = Path(__file__).parents[2]
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "assets" / "ui").glob("*.js")}
MODULES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "ixc" / "ui").glob("*.py")}
ENGLISH, CHINESE = load_strings()["en"], load_strings()["zh"]
NOTE = "model.note."  # a model's own sentence is English and stands with its preset


def placeholders(sentence: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", sentence))


def test_both_languages_have_the_same_sentences():
    assert LANGUAGES == ("en", "zh")
    assert set(ENGLISH) == {key for key in CHINESE if not key.startswith(NOTE)}


def test_every_model_says_in_chinese_too_what_it_can_do():
    notes = {key.removeprefix(NOTE): note for key, note in CHINESE.items() if key.startswith(NOTE)}
    assert set(notes) == {preset.title for preset in PRESETS.values()}
    for preset in PRESETS.values():
        assert preset.is_small == ("asked in English" in preset.note) == ("请用英文提问" in notes[preset.title])
        assert set(re.findall(r"\d+", notes[preset.title])) == set(re.findall(r"\d+", preset.note))


def test_what_is_said_of_an_unknown_model_is_what_the_page_translates():
    assert (ENGLISH["model.unknown"], ENGLISH["model.remote"]) == (UNKNOWN_NOTE, REMOTE_NOTE)


@pytest.mark.parametrize("key", sorted(ENGLISH))
def test_a_sentence_has_the_same_places_in_both_languages(key):
    assert placeholders(ENGLISH[key]) >= placeholders(CHINESE[key])
    if not key.startswith("error."):  # the Chinese sentences about errors may do without the English detail
        assert placeholders(ENGLISH[key]) == placeholders(CHINESE[key])


def test_chinese_is_chinese():
    not_translated = {key for key, text in CHINESE.items() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert not_translated == {
        "budget.suggested.cost",
        "chat.export.json",
        "chat.export.markdown",
        "chat.note.between",
        "chat.stats.budget",
        "error.IxcError",
        "settings.top_p",
        "stage.side.dynamic_partition.size",
        "stage.side.single_view.size",
    }


def test_every_key_that_is_asked_for_exists():
    asked = set()
    for text in SCRIPTS.values():
        asked |= set(re.findall(r'\bt\(\s*"([\w.]+)"', text))
        asked |= set(re.findall(r'"data-t(?:-title|-label)?": "([\w.]+)"', text))
    for text in MODULES.values():
        asked |= set(re.findall(r'translate\([\w"]+, "([\w.]+)"', text))
    assert len(asked) > 50
    assert asked <= set(ENGLISH)


def test_every_sentence_is_used():
    everything = "\n".join([*SCRIPTS.values(), *MODULES.values()])
    # Keys that are put together from a part known only at run time.
    composed = re.compile(
        r"^(error|stage\.(layer|alt|side|cell)|facts\.scale|app\.pane|chat\.stage|model\.note|view|budget\.(none|advice)|compare\.head|budget\.input|evidence\.(group|variant|speed|curve|asked|test))\.|^settings\.\w+$"
    )
    unused = {key for key in ENGLISH if f'"{key}"' not in everything and not composed.search(key)}
    assert unused == set()


def test_every_error_of_the_page_has_a_sentence():
    """A kind of error without one of its own is shown with its base's."""
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.IxcError)]
    assert all(f"error.{message_for(cls('Detail.')).code}" in ENGLISH for cls in classes)
    own = {cls.__name__ for cls in classes if f"error.{cls.__name__}" in ENGLISH}
    assert own >= {"ImageUnreadable", "ImageTooLarge", "EngineBusy", "OutOfMemory", "CheckpointError", "UploadFailed"}


def test_every_error_of_the_page_s_own_has_a_sentence_in_each_language():
    """One shown with its base's would be English on the Chinese page."""
    for path in (ROOT / "ixc" / "ui").glob("*.py"):
        importlib.import_module(f"ixc.ui.{path.stem}")
    own = {cls.__name__ for cls in subclasses(errors.IxcError) if cls.__module__.startswith(("ixc.application.", "ixc.ui."))}
    assert len(own) >= 4
    assert {name for name in own if f"error.{name}" not in CHINESE} == set()


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*(subclasses(each) for each in cls.__subclasses__()))


def test_values_fill_their_places_and_are_not_read_again():
    assert translate("en", "budget.suggested", budget=60) == "Suggested: 60"
    assert translate("zh", "budget.suggested", budget=60) == "建议：60"
    assert translate("tlh", "composer.send") == "Send"
    assert translate("en", "error.IxcError", detail="{detail}") == "{detail}"
    with pytest.raises(KeyError):
        translate("en", "no.such.key")


def test_no_sentence_can_end_the_script_it_is_put_into():
    assert "</" not in json.dumps(load_strings())
