"""Settings: every variable is read, every limit is checked, every message names what is wrong."""

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixc.errors import IxcError, SettingsError
from ixc.settings import CacheLimits, GenerationSettings, ImageLimits, Settings

MIB = 1_048_576
VARIABLES = {  # variable, text, where it lands, value there
    "IXC_MODEL": ("/models/my-4khd", "model", "/models/my-4khd"),
    "IXC_MODELS": ("vl-7b, 4khd-7b", "models", "vl-7b, 4khd-7b"),
    "IXC_PRECISION": ("int8", "precision", "int8"),
    "IXC_DEVICE": ("split", "device", "split"),
    "IXC_MAX_MEMORY": ("0=20GB, cpu=48GB", "max_memory", "0=20GB, cpu=48GB"),
    "IXC_OFFLOAD_DIR": ("/scratch/offload", "offload_folder", "/scratch/offload"),
    "IXC_DECODE": ("graphs", "decode", "graphs"),
    "IXC_PROMPT_LOOKUP": ("8", "prompt_lookup_tokens", 8),
    "IXC_RESIZE": ("exact", "resize", "exact"),
    "IXC_HOST": ("0.0.0.0", "host", "0.0.0.0"),
    "IXC_PORT": ("8000", "port", 8000),
    "IXC_ORIGINS": ("https://chat.example.org", "origins", "https://chat.example.org"),
    "IXC_BACKEND": ("http://127.0.0.1:8000", "backend", "http://127.0.0.1:8000"),
    "IXC_BACKEND_KEY": ("secret", "backend_key", "secret"),
    "IXC_BACKEND_PARALLEL": ("4", "backend_parallel", 4),
    "IXC_READ_AHEAD": ("off", "read_ahead", "off"),
    "IXC_FETCH_IMAGES": ("on", "fetch_images", "on"),
    "IXC_MAX_PATCHES": ("40", "max_patches_limit", 40),
    "IXC_MAX_WAITING": ("5", "max_waiting", 5),
    "IXC_PREFILL_CHUNK": ("128", "prefill_chunk_tokens", 128),
    "IXC_IMAGES_MB": ("700", "held_image_bytes", 700 * MIB),
    "IXC_MAX_UPLOAD_MB": ("3", "images.max_bytes", 3 * MIB),
    "IXC_MAX_SIDE_PX": ("9000", "images.max_side_px", 9000),
    "IXC_MAX_MEGAPIXELS": ("12.5", "images.max_megapixels", 12.5),
    "IXC_CACHE_MB": ("100", "cache.max_bytes", 100 * MIB),
    "IXC_CACHE_AGE_S": ("60.5", "cache.max_age_s", 60.5),
    "IXC_CACHE_SESSIONS": ("7", "cache.max_sessions", 7),
}


def at(settings, path):
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"PATH": "/bin", "IXC_PORT": "  "}) == Settings()


def test_defaults_serve_this_machine_only():
    assert (Settings().host, Settings().port) == ("127.0.0.1", 7860)


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_changes_its_own_field_only(variable):
    text, path, value = VARIABLES[variable]
    settings = Settings.from_env({variable: text})
    assert at(settings, path) == value
    others = {other: spot for other, (_, spot, _) in VARIABLES.items() if other != variable}
    assert all(at(settings, spot) == at(Settings(), spot) for spot in others.values())


def test_every_field_has_a_variable():
    spots = {f.name for f in dataclasses.fields(Settings)} - {"images", "cache"}
    spots |= {f"images.{f.name}" for f in dataclasses.fields(ImageLimits)}
    spots |= {f"cache.{f.name}" for f in dataclasses.fields(CacheLimits)}
    assert spots == {path for _, path, _ in VARIABLES.values()}


@pytest.mark.parametrize("variable", [name for name, (_, _, value) in VARIABLES.items() if not isinstance(value, str)])
@pytest.mark.parametrize("text", ["many", "1e", "7,5", "0x10"])
def test_a_number_that_is_none_is_named(variable, text):
    with pytest.raises(SettingsError, match=f"{variable}.*number.*{text}"):
        Settings.from_env({variable: text})


@pytest.mark.parametrize("variable", [name for name, (_, _, value) in VARIABLES.items() if isinstance(value, int)])
def test_where_parts_are_refused_whole_numbers_are_asked_for(variable):
    with pytest.raises(SettingsError, match=f"^{variable} must be a whole number, not '1.5'.$"):
        Settings.from_env({variable: "1.5"})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("IXC_PORT", "70000"),
        ("IXC_PORT", "-1"),
        ("IXC_BACKEND_PARALLEL", "0"),
        ("IXC_FETCH_IMAGES", "yes"),
        ("IXC_RESIZE", "slow"),
        ("IXC_MAX_PATCHES", "0"),
        ("IXC_MAX_WAITING", "0"),
        ("IXC_PREFILL_CHUNK", "-1"),
        ("IXC_PROMPT_LOOKUP", "-1"),
        ("IXC_PROMPT_LOOKUP", "33"),
        ("IXC_IMAGES_MB", "0"),
        ("IXC_MAX_UPLOAD_MB", "0"),
        ("IXC_MAX_SIDE_PX", "-5"),
        ("IXC_MAX_MEGAPIXELS", "0"),
        ("IXC_MAX_MEGAPIXELS", "-1"),
        ("IXC_MAX_MEGAPIXELS", "nan"),
        ("IXC_MAX_MEGAPIXELS", "inf"),
        ("IXC_CACHE_MB", "-1"),
        ("IXC_CACHE_AGE_S", "0"),
        ("IXC_CACHE_AGE_S", "nan"),
        ("IXC_CACHE_SESSIONS", "0"),
    ],
)
def test_values_out_of_range_are_refused_with_a_sentence(variable, text):
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: text})
    assert str(caught.value)[0].isupper()
    named = {name for name in VARIABLES if re.search(rf"\b{name}\b", str(caught.value))}
    assert named == {variable}
    assert text in str(caught.value)
    assert str(caught.value).endswith(".")
    assert isinstance(caught.value, IxcError)


def test_a_cache_of_no_bytes_is_a_choice():
    assert Settings.from_env({"IXC_CACHE_MB": "0"}).cache.max_bytes == 0


# --- generation ---------------------------------------------------------------------------------------------------


def test_generation_defaults_are_the_reference_s_chat():
    settings = GenerationSettings()
    assert settings.max_new_tokens == 1024
    assert (settings.do_sample, settings.temperature, settings.top_p) == (True, 1.0, 0.8)
    assert (settings.repetition_penalty, settings.num_beams) == (1.005, 1)
    assert not settings.is_greedy


@pytest.mark.parametrize(
    ("name", "lowest", "highest", "below", "above"),
    [
        ("max_new_tokens", 1, 4096, 0, 4097),
        ("temperature", 0.0, 5.0, -0.01, 5.01),
        ("top_p", 0.01, 1.0, 0.0, 1.01),
        ("repetition_penalty", 0.5, 3.0, 0.49, 3.01),
        ("num_beams", 1, 8, 0, 9),
        ("prompt_lookup_tokens", 0, 32, -1, 33),
    ],
)
def test_generation_ranges_are_closed_and_named(name, lowest, highest, below, above):
    for fine in (lowest, highest):
        assert getattr(GenerationSettings(**{name: fine}), name) == fine
    for wrong in (below, above, math.nan, math.inf, "1", None, True):
        with pytest.raises(SettingsError, match=rf"^The .*{name}"):
            GenerationSettings(**{name: wrong})


@pytest.mark.parametrize("name", ["max_new_tokens", "num_beams"])
def test_counts_are_whole(name):
    with pytest.raises(SettingsError, match="whole number"):
        GenerationSettings(**{name: 2.5})
    value = getattr(GenerationSettings(**{name: 3.0}), name)
    assert (value, type(value)) == (3, int)


@pytest.mark.parametrize("seed", [None, 0, 7, 2**63 - 1])
def test_seeds_that_fit_a_generator(seed):
    assert GenerationSettings(seed=seed).seed == seed


def test_numbers_are_kept_as_what_they_are():
    """A page and JSON write 7 as 7.0, and 1.0 as 1."""
    settings = GenerationSettings(seed=7.0, max_new_tokens=100.0, temperature=1)
    assert [type(value) for value in (settings.seed, settings.max_new_tokens, settings.temperature)] == [int, int, float]


@pytest.mark.parametrize("seed", [-1, 2**63, 2.0**63, 1.5, math.nan, math.inf, "7"])
def test_seeds_that_do_not(seed):
    with pytest.raises(SettingsError, match="The seed must be"):
        GenerationSettings(seed=seed)


@given(st.booleans(), st.floats(0, 5))
def test_greedy_means_no_chance_is_taken(do_sample, temperature):
    is_greedy = GenerationSettings(do_sample=do_sample, temperature=temperature).is_greedy
    assert is_greedy == (not do_sample or temperature < 1e-5)


GREEDY, SAMPLING = {"do_sample": False}, {"do_sample": True, "temperature": 0.7}
BEAMS = {"do_sample": False, "num_beams": 3}
SAMPLING_BEAMS = {"do_sample": True, "num_beams": 3}  # generation_config.json may say so


@pytest.mark.parametrize(
    ("own", "given", "samples", "temperature", "num_beams"),
    [
        (GREEDY, {}, False, 1.0, 1),
        (GREEDY, {"max_new_tokens": 5}, False, 1.0, 1),
        (GREEDY, {"temperature": 0.5}, True, 0.5, 1),
        (GREEDY, {"top_p": 0.5}, True, 1.0, 1),
        (GREEDY, {"temperature": 0}, False, 0.0, 1),
        (GREEDY, {"temperature": 0, "top_p": 0.5}, False, 0.0, 1),
        (GREEDY, {"temperature": 1e-6}, False, 1e-6, 1),
        (GREEDY, {"num_beams": 3}, False, 1.0, 3),
        (GREEDY, {"temperature": 0.5, "num_beams": 3}, False, 0.5, 3),
        (GREEDY | {"temperature": 0.0}, {"top_p": 0.5}, False, 0.0, 1),
        (SAMPLING, {}, True, 0.7, 1),
        (SAMPLING, {"seed": 1}, True, 0.7, 1),
        (SAMPLING, {"temperature": 0.0}, False, 0.0, 1),
        (SAMPLING, {"num_beams": 3}, False, 0.7, 3),
        (SAMPLING, {"top_p": 0.5, "num_beams": 3}, False, 0.7, 3),
        (BEAMS, {}, False, 1.0, 3),
        (BEAMS, {"temperature": 0.5}, True, 0.5, 1),
        (BEAMS, {"top_p": 0.5}, True, 1.0, 1),
        (BEAMS, {"temperature": 0}, False, 0.0, 3),
        (BEAMS, {"num_beams": 1}, False, 1.0, 1),
        (BEAMS, {"temperature": 0.5, "num_beams": 2}, False, 0.5, 2),
        (SAMPLING_BEAMS, {}, False, 1.0, 3),
        (SAMPLING_BEAMS, {"num_beams": 1}, True, 1.0, 1),
        (SAMPLING_BEAMS, {"temperature": 0.5}, True, 0.5, 1),
    ],
)
def test_when_a_question_samples(own, given, samples, temperature, num_beams):
    asked = GenerationSettings(**own).with_given(given)
    assert (asked.do_sample, asked.temperature, asked.num_beams) == (samples, temperature, num_beams)
    assert asked.is_greedy == (not samples)
    for name in set(given) - {"temperature", "num_beams"}:
        assert getattr(asked, name) == given[name]


def test_what_a_question_names_stays_within_its_range():
    for name, value in {"temperature": 9, "top_p": "1", "max_new_tokens": 2.5, "num_beams": None, "seed": 1.5}.items():
        with pytest.raises(SettingsError, match=name):
            GenerationSettings().with_given({name: value})


def test_settings_cannot_be_changed():
    for value in (Settings(), ImageLimits(), CacheLimits(), GenerationSettings()):
        name = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 1)
